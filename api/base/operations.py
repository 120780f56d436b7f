"""Every call of the API, as one table: who may make it, what it takes and what it answers. The schema is made from
this and the docstrings of the views; tests compare it with what the views do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from api import accounts, audit, catalogue, closing, explain, imports, keys, limits, management_keys, me, members, usage
from api.base.access import Action
from api.base.fields import AnySerializer, Moment
from api.base.paging import PageQuery

Form = type[serializers.Serializer[Any]]

TAGS = {
    "me": "Who one is.",
    "keys": "Keys for models: issued, narrowed, rotated, revoked.",
    "management keys": "What an account's own programs ask this API with.",
    "imports": "Keys of another system, by the thousand.",
    "accounts": "Accounts: for their people, and for the operator's billing system.",
    "members": "The people of an account, and who is invited.",
    "usage": "What was used, what is left, and why the gate says what it says.",
    "catalogue": "Models and plans.",
    "audit": "Who did what, to what, when, from where.",
}

USAGE_AS_CSV = (
    "start,end,allowed,refused,shadow_refused,units\r\n2030-11-22T00:00:00Z,2030-11-23T00:00:00Z,120,3,0,600\r\n"
)
REPORT_AS_CSV = "line,outcome,key,why\r\n7,refused,,This key is shorter than 16 characters.\r\n"
IMPORT_AS_CSV = "key,name\r\nold-system-key-000001,laptop\r\n"
_CSV_UPLOADS: Mapping[str, dict[str, Any]] = {
    "text/csv": {"schema": {"type": "string"}, "example": IMPORT_AS_CSV},
    "multipart/form-data": {
        "schema": {
            "type": "object", "required": ["file"],
            "properties": {"file": {"type": "string", "contentMediaType": "text/csv"}},
        },
        "example": {"file": IMPORT_AS_CSV},
    },
}  # fmt: skip
_BY_FIELD = "Who may depends on the fields that are sent: `plan` and `overrides` are assigned, the rest is provisioned."


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call. What an error can be, and who may make it, follows from this."""

    id: str
    tag: str
    who: tuple[Action, ...]
    query: Form | None = None
    body: Form | None = None
    uploads: Mapping[str, dict[str, Any]] | None = None  # another body: media type → schema and example
    status: int = 200
    answer: Form | None = None  # None: an answer without a body
    is_list: bool = False  # a page of answers
    may_be_pending: bool = False  # saved and not known to the gate yet: 202
    may_conflict: bool = False
    is_partial: bool = False  # what the body leaves out stays, as with every PATCH
    once: bool = False  # takes an Idempotency-Key
    also: Mapping[int, str] | None = None  # other statuses with the same body, each with its words
    also_as: Mapping[str, str] | None = None  # other media types of the same answer, each with an example
    links: Mapping[str, str] | None = None  # other operations → the parameter that takes this answer's `id`
    done: str = ""  # what the answer's status means, where it is not the usual
    headers: Mapping[str, str] | None = None  # of the answer, with their words
    notes: str = ""


class IssuedKey(keys.KeyOut):
    """A key with its text, which only this answer has."""

    key = serializers.CharField(help_text="The key's text: store it now, it is in no other answer.")


class PendingChange(AnySerializer):
    """What a change that is saved and still on its way to the gate was made to."""

    id = serializers.CharField()


class Export(AnySerializer):
    """All that is known of an account. What the lists hold is what the calls for them answer, and usage by hour."""

    exported_at = Moment()
    account = serializers.DictField()
    members = serializers.ListField(child=serializers.DictField())
    invitations = serializers.ListField(child=serializers.DictField())
    keys = serializers.ListField(child=serializers.DictField())
    management_keys = serializers.ListField(child=serializers.DictField())
    usage = serializers.ListField(child=serializers.DictField())
    audit = serializers.ListField(child=serializers.DictField())


_OF_A_KEY = {
    "get_key": "id", "change_key": "id", "rotate_key": "id", "end_rotation": "id", "revoke_key": "id",
}  # fmt: skip
_SETTING_AN_ACCOUNT = (Action.RENAME_ACCOUNT, Action.ASSIGN_PLAN, Action.PROVISION_ACCOUNT)
_CHANGING_MEMBERS = (Action.WRITE_MEMBERS, Action.CHANGE_ADMINS, Action.CHANGE_OWNERS)
_PROVISIONING = (Action.PROVISION_ACCOUNT, *_SETTING_AN_ACCOUNT[:2])

OPERATIONS: Mapping[Callable[..., Any], Operation] = {
    # Oneself.
    me.Me.get: Operation(id="get_me", tag="me", who=(Action.READ_SELF,), answer=me.MeOut),
    # Keys.
    keys.Keys.get: Operation(
        id="list_keys", tag="keys", who=(Action.READ_KEYS,), query=keys.KeyQuery, answer=keys.KeyOut, is_list=True
    ),
    keys.Keys.post: Operation(
        id="issue_key", tag="keys", who=(Action.ISSUE_KEY,), body=keys.KeyIn, status=201, answer=IssuedKey,
        once=True, may_be_pending=True, may_conflict=True, links=_OF_A_KEY,
    ),
    keys.Key.get: Operation(id="get_key", tag="keys", who=(Action.READ_KEYS,), answer=keys.KeyOut),
    keys.Key.patch: Operation(
        id="change_key", tag="keys", who=(Action.CHANGE_KEY,), body=keys.KeyChange, answer=keys.KeyOut,
        may_be_pending=True, may_conflict=True,
    ),
    keys.Key.delete: Operation(
        id="revoke_key", tag="keys", who=(Action.CHANGE_KEY,), status=204, may_be_pending=True, may_conflict=True
    ),
    keys.Rotate.post: Operation(
        id="rotate_key", tag="keys", who=(Action.CHANGE_KEY,), body=keys.RotateIn, answer=IssuedKey, once=True,
        may_be_pending=True, may_conflict=True, links=_OF_A_KEY,
    ),
    keys.EndRotation.post: Operation(
        id="end_rotation", tag="keys", who=(Action.CHANGE_KEY,), answer=keys.KeyOut, may_be_pending=True,
        may_conflict=True,
    ),
    # Management keys.
    management_keys.ManagementKeys.get: Operation(
        id="list_management_keys", tag="management keys", who=(Action.READ_MANAGEMENT_KEYS,),
        query=management_keys.ManagementKeyQuery, answer=management_keys.ManagementKeyOut, is_list=True,
    ),
    management_keys.ManagementKeys.post: Operation(
        id="make_management_key", tag="management keys", who=(Action.WRITE_MANAGEMENT_KEYS,),
        body=management_keys.ManagementKeyIn, status=201, answer=management_keys.ManagementKeyMade, once=True,
        may_conflict=True, links={"get_management_key": "id", "revoke_management_key": "id"},
    ),
    management_keys.OneManagementKey.get: Operation(
        id="get_management_key", tag="management keys", who=(Action.READ_MANAGEMENT_KEYS,),
        answer=management_keys.ManagementKeyOut,
    ),
    management_keys.OneManagementKey.delete: Operation(
        id="revoke_management_key", tag="management keys", who=(Action.WRITE_MANAGEMENT_KEYS,), status=204
    ),
    # Keys of another system.
    imports.Imports.get: Operation(
        id="list_imports", tag="imports", who=(Action.IMPORT_KEYS,), query=PageQuery, answer=imports.ImportOut,
        is_list=True,
    ),
    imports.Imports.post: Operation(
        id="import_keys", tag="imports", who=(Action.IMPORT_KEYS,), query=imports.ImportQuery, uploads=_CSV_UPLOADS,
        status=202, answer=imports.ImportOut, may_conflict=True, done="Taken: the worker goes through it.",
        headers={"Location": "Where its progress is."},
        links={"get_import": "id", "read_import_report": "id"},
    ),
    imports.OneImport.get: Operation(
        id="get_import", tag="imports", who=(Action.IMPORT_KEYS,), answer=imports.ImportOut
    ),
    imports.ImportReport.get: Operation(
        id="read_import_report", tag="imports", who=(Action.IMPORT_KEYS,), query=imports.ReportQuery,
        answer=imports.LineOut, is_list=True, also_as={"text/csv": REPORT_AS_CSV},
    ),
    # Accounts.
    accounts.Accounts.get: Operation(
        id="list_accounts", tag="accounts", who=(Action.READ_ACCOUNT,), query=accounts.AccountQuery,
        answer=accounts.AccountOut, is_list=True,
    ),
    accounts.OneAccount.get: Operation(
        id="get_account", tag="accounts", who=(Action.READ_ACCOUNT,), answer=accounts.AccountOut
    ),
    accounts.OneAccount.patch: Operation(
        id="change_account", tag="accounts", who=_SETTING_AN_ACCOUNT, body=accounts.AccountChange,
        answer=accounts.AccountOut, may_be_pending=True, may_conflict=True, notes=_BY_FIELD,
    ),
    accounts.ByExternalId.get: Operation(
        id="get_account_by_external_id", tag="accounts", who=(Action.PROVISION_ACCOUNT,), answer=accounts.AccountOut
    ),
    accounts.ByExternalId.put: Operation(
        id="put_account_by_external_id", tag="accounts", who=_PROVISIONING, body=accounts.ProvisionIn,
        answer=accounts.AccountOut, also={201: "Made."}, may_be_pending=True, may_conflict=True, is_partial=True,
        notes=_BY_FIELD, links={"get_account": "id", "change_account": "id"},
    ),
    closing.Export.get: Operation(
        id="export_account", tag="accounts", who=(Action.EXPORT_ACCOUNT,), answer=Export
    ),
    closing.Close.post: Operation(
        id="close_account", tag="accounts", who=(Action.CLOSE_ACCOUNT,), body=closing.CloseIn, status=204,
        may_be_pending=True, may_conflict=True,
    ),
    # Members.
    members.Members.get: Operation(
        id="list_members", tag="members", who=(Action.READ_MEMBERS,), query=members.MemberQuery,
        answer=members.MemberOut, is_list=True,
    ),
    members.Members.post: Operation(
        id="add_member", tag="members", who=(Action.PROVISION_ACCOUNT,), body=members.MemberIn, status=201,
        answer=members.MemberOut, may_conflict=True,
    ),
    members.Member.get: Operation(
        id="get_member", tag="members", who=(Action.READ_MEMBERS,), answer=members.MemberOut
    ),
    members.Member.patch: Operation(
        id="change_member", tag="members", who=_CHANGING_MEMBERS, query=members.RoleQuery, body=members.RoleIn,
        answer=members.MemberChangedOut, may_conflict=True,
    ),
    members.Member.delete: Operation(
        id="remove_member", tag="members", who=(*_CHANGING_MEMBERS, Action.READ_MEMBERS),
        query=members.RemovalQuery, answer=members.RemovedOut, also={204: "Done: the person had made nothing here."},
        may_be_pending=True, may_conflict=True, notes="Who sees the members may leave.",
    ),
    members.Invitations.get: Operation(
        id="list_invitations", tag="members", who=(Action.READ_MEMBERS,), query=members.InvitationQuery,
        answer=members.InvitationOut, is_list=True,
    ),
    members.Invitations.post: Operation(
        id="invite", tag="members", who=_CHANGING_MEMBERS, body=members.InvitationIn,
        status=201, answer=members.InvitationOut, may_conflict=True,
    ),
    members.OneInvitation.get: Operation(
        id="get_invitation", tag="members", who=(Action.READ_MEMBERS,), answer=members.InvitationOut
    ),
    members.OneInvitation.delete: Operation(
        id="withdraw_invitation", tag="members", who=_CHANGING_MEMBERS, status=204,
        may_conflict=True,
    ),
    members.Resend.post: Operation(
        id="resend_invitation", tag="members", who=_CHANGING_MEMBERS,
        answer=members.InvitationOut,
        may_conflict=True,
    ),
    # Usage, limits, and why the gate says what it says.
    usage.Usage.get: Operation(
        id="read_usage", tag="usage", who=(Action.READ_USAGE,), query=usage.UsageQuery, answer=usage.UsageOut,
        is_list=True, also_as={"text/csv": USAGE_AS_CSV},
    ),
    limits.Limits.get: Operation(
        id="read_limits", tag="usage", who=(Action.READ_USAGE,), query=limits.LimitsQuery, answer=limits.LimitsOut
    ),
    explain.Explain.post: Operation(
        id="explain", tag="usage", who=(Action.EXPLAIN,), body=explain.ExplainIn, answer=explain.ExplainOut
    ),
    # The catalogue and the audit log.
    catalogue.Models.get: Operation(
        id="list_models", tag="catalogue", who=(Action.READ_CATALOGUE, Action.READ_ACCOUNT),
        query=catalogue.CatalogueQuery, answer=catalogue.ModelOut, is_list=True,
    ),
    catalogue.Plans.get: Operation(
        id="list_plans", tag="catalogue", who=(Action.READ_CATALOGUE, Action.READ_ACCOUNT),
        query=catalogue.CatalogueQuery, answer=catalogue.PlanOut, is_list=True,
    ),
    audit.Audit.get: Operation(
        id="list_audit_events", tag="audit", who=(Action.READ_AUDIT,), query=audit.AuditQuery, answer=audit.AuditOut,
        is_list=True,
    ),
}  # fmt: skip


def operation_of(view: type, method: str) -> Operation | None:
    """What the table says of a view's method; an inherited one counts as the parent's."""
    return OPERATIONS.get(getattr(view, method.lower()))
