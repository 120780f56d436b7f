"""How many of each thing an account may have (docs/decisions/0017). The caller holds the account's lock."""

from __future__ import annotations

from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.db.models import Count
from django.utils.translation import gettext, gettext_lazy

from accounts.models import Account, ApiKey, ManagementKey, Membership, OperatorToken
from accounts.refused import Refused
from quotas.models import Plan
from runtime.among import among

# Per key.
MOST_LIMITS = 10
MOST_NETWORKS = 20
MOST_MODELS = 100
KEPT_SECRETS = 4  # the two that may work, and two that the log can distinguish from a stranger's guess

# Per account. The number of keys is capped by `max_keys` of the plan or account.
MOST_MANAGEMENT_KEYS = 50
MOST_MEMBERS = 200
MOST_OVERRIDES = 100

# Per deployment.
MOST_OPERATOR_TOKENS = 50


def most_keys_of(account: Account) -> int:
    """How many living keys the account may have. The plan is read again, because the caller's may be outdated."""
    if account.max_keys is not None:
        return account.max_keys
    return Plan.objects.values_list("max_keys", flat=True).get(pk=account.plan_id)


def room_for_keys(account: Account) -> int:
    """How many more keys the account may have."""
    return rooms_for_keys([account])[account.pk]


def rooms_for_keys(accounts: Collection[Account]) -> dict[int, int]:
    """How many more keys each of these accounts may have, by primary key. The plans are read again, as above."""
    plans = {account.plan_id for account in accounts if account.max_keys is None}
    most = dict(Plan.objects.filter(pk__in=plans).values_list("pk", "max_keys")) if plans else {}
    keys = ApiKey.objects.living().filter(among("account_id", (account.pk for account in accounts))).order_by()
    there = dict(keys.values_list("account").annotate(Count("pk")))
    return {
        one.pk: max((most[one.plan_id] if one.max_keys is None else one.max_keys) - there.get(one.pk, 0), 0)
        for one in accounts
    }


def require_room_for_a_key(account: Account) -> None:
    if room_for_keys(account) == 0:
        raise Refused(no_room(account))


def no_room(account: Account) -> str:
    """Why the account can't have more keys, and what to do."""
    if account.max_keys is None:
        words = gettext(
            "The account %(account)s has as many keys as the plan %(plan)s allows: %(most)d that are neither revoked "
            "nor expired. Revoke keys that are no longer used, or ask the operator for a higher max_keys."
        )
    else:
        words = gettext(
            "The account %(account)s has as many keys as it may have: %(most)d that are neither revoked nor expired. "
            "Revoke keys that are no longer used, or ask the operator for a higher max_keys."
        )
    return words % {"account": account.public_id, "plan": account.plan.name, "most": most_keys_of(account)}


def require_room_for_a_management_key(account: Account) -> None:
    if ManagementKey.objects.active().filter(account=account).count() >= MOST_MANAGEMENT_KEYS:
        words = gettext("The account %(account)s has %(most)d management keys, the maximum. Revoke one first.")
        raise Refused(words % {"account": account.public_id, "most": MOST_MANAGEMENT_KEYS})


def require_room_for_an_operator_token() -> None:
    """Locks the active tokens, so that of two created at once the second waits and counts the first."""
    tokens = OperatorToken.objects.active()
    list(tokens.select_for_update().values_list("pk"))
    if tokens.count() >= MOST_OPERATOR_TOKENS:
        words = gettext("There are %(most)d operator tokens, the maximum. Revoke one first.")
        raise Refused(words % {"most": MOST_OPERATOR_TOKENS})


def require_room_for_a_member(account: Account) -> None:
    if Membership.objects.filter(account=account).count() >= MOST_MEMBERS:
        words = gettext("The account %(account)s has %(most)d members, the maximum. Remove one first.")
        raise Refused(words % {"account": account.public_id, "most": MOST_MEMBERS})


def require_room_for_overrides(account: Account, wanted: int) -> None:
    if wanted > MOST_OVERRIDES:
        words = gettext("The account %(account)s has %(most)d overrides, the maximum. Remove one first.")
        raise Refused(words % {"account": account.public_id, "most": MOST_OVERRIDES})


_AT_MOST = {
    "models": gettext_lazy("A key can have at most %(most)d models; there are %(found)d."),
    "networks": gettext_lazy("A key can have at most %(most)d networks; there are %(found)d."),
    "limits": gettext_lazy("A key can have at most %(most)d limits; there are %(found)d."),
}


def at_most(most: int, found: int, field: str) -> None:
    """Raise ValidationError if a key would have more than `most` of something."""
    if found > most:
        raise ValidationError({field: _AT_MOST[field] % {"most": most, "found": found}})
