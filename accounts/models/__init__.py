"""Who may call what: accounts with their members, keys with their secrets, the audit log and the outbox."""

from accounts.models.accounts import (
    EXTERNAL_ID,
    EXTERNAL_ID_WORDS,
    Account,
    AccountOverride,
    Membership,
    erased_name,
    is_external_id,
    made_with,
    new_member_id,
)
from accounts.models.credentials import Credential, Invitation, InvitationQuerySet, ManagementKey, OperatorToken
from accounts.models.imports import ImportJob, ImportLine
from accounts.models.keys import (
    DEEPEST_METADATA,
    MOST_METADATA_BYTES,
    ApiKey,
    KeyLimit,
    KeyQuerySet,
    KeySecret,
    StateOfKey,
    small_object,
)
from accounts.models.notifications import Notification, SignInPlace, SwitchedOffTopic, Topic
from accounts.models.people import NAME_IS_TAKEN, People, User, caseless
from accounts.models.publishing import OutboxRow, SeenStore
from accounts.models.records import AppendOnlyQuerySet, AuditEvent, KeptAnswer

__all__ = [
    "DEEPEST_METADATA",
    "EXTERNAL_ID",
    "EXTERNAL_ID_WORDS",
    "MOST_METADATA_BYTES",
    "NAME_IS_TAKEN",
    "Account",
    "AccountOverride",
    "ApiKey",
    "AppendOnlyQuerySet",
    "AuditEvent",
    "Credential",
    "ImportJob",
    "ImportLine",
    "Invitation",
    "InvitationQuerySet",
    "KeptAnswer",
    "KeyLimit",
    "KeyQuerySet",
    "KeySecret",
    "ManagementKey",
    "Membership",
    "Notification",
    "OperatorToken",
    "OutboxRow",
    "People",
    "SeenStore",
    "SignInPlace",
    "StateOfKey",
    "SwitchedOffTopic",
    "Topic",
    "User",
    "caseless",
    "erased_name",
    "is_external_id",
    "made_with",
    "new_member_id",
    "small_object",
]
