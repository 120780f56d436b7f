"""How much one account may have of each thing (docs/decisions/0017). Whoever asks holds the account's lock."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from accounts.models import Account, ApiKey, ManagementKey, Membership, OperatorToken
from accounts.refused import Refused
from quotas.models import Plan

# Of one key.
MOST_LIMITS = 10
MOST_NETWORKS = 20
MOST_MODELS = 100
KEPT_SECRETS = 4  # the two that may work, and two more that the log can tell from a stranger's guess

# Of one account. Keys have a cap of their own: the plan's or the account's `max_keys`.
MOST_MANAGEMENT_KEYS = 50
MOST_MEMBERS = 200
MOST_OVERRIDES = 100

# Of the operator.
MOST_OPERATOR_TOKENS = 50


def most_keys_of(account: Account) -> int:
    """How many living keys the account may have. The plan is read afresh: whoever asks may hold an old one."""
    if account.max_keys is not None:
        return account.max_keys
    return Plan.objects.values_list("max_keys", flat=True).get(pk=account.plan_id)


def room_for_keys(account: Account) -> int:
    """How many keys the account may still be issued."""
    return max(most_keys_of(account) - ApiKey.objects.active().filter(account=account).count(), 0)


def require_room_for_a_key(account: Account) -> None:
    if room_for_keys(account) == 0:
        raise Refused(no_room(account))


def no_room(account: Account) -> str:
    """Why the account gets no more keys, and what to do."""
    whose = f"the plan {account.plan.name} allows" if account.max_keys is None else "it may have"
    return (
        f"The account {account.public_id} has as many keys as {whose}: {most_keys_of(account)} that are neither "
        "revoked nor expired. Revoke keys that are no longer used, or ask the operator for a higher max_keys."
    )


def require_room_for_a_management_key(account: Account) -> None:
    if ManagementKey.objects.active().filter(account=account).count() >= MOST_MANAGEMENT_KEYS:
        raise Refused(
            f"The account {account.public_id} has {MOST_MANAGEMENT_KEYS} management keys, which is the most: "
            "revoke one first."
        )


def require_room_for_an_operator_token() -> None:
    """Locks the living tokens: of two that are made at once, the second waits and counts the first."""
    tokens = OperatorToken.objects.active()
    list(tokens.select_for_update().values_list("pk"))
    if tokens.count() >= MOST_OPERATOR_TOKENS:
        raise Refused(f"There are {MOST_OPERATOR_TOKENS} operator tokens, which is the most: revoke one first.")


def require_room_for_a_member(account: Account) -> None:
    if Membership.objects.filter(account=account).count() >= MOST_MEMBERS:
        raise Refused(
            f"The account {account.public_id} has {MOST_MEMBERS} members, which is the most: remove one first."
        )


def require_room_for_overrides(account: Account, wanted: int) -> None:
    if wanted > MOST_OVERRIDES:
        raise Refused(
            f"The account {account.public_id} has {MOST_OVERRIDES} overrides, which is the most: remove one first."
        )


def at_most(most: int, found: int, field: str) -> None:
    """Refuse a key with more of something than a key may have."""
    if found > most:
        raise ValidationError({field: f"A key has at most {most} {field}, and these are {found}."})
