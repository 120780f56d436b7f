"""What happens to credentials that a person could no longer create after losing rights.

A person is behind a credential that they created while signed in, or with a credential that they are behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from accounts.authority import (
    Authority,
    actions_of_scope,
    authority_of_person,
    is_lower,
)
from accounts.models import Account, ApiKey, Invitation, ManagementKey, OperatorToken, User
from accounts.services.acts import Actor, record_act
from accounts.services.credentials import revoke_credential

MOST_KEYS_NAMED = 500
MOST_NAMED = 20  # in a message to a person


@dataclass(slots=True)
class LeftBehind:
    """The credentials and invitations that ended because the person could no longer create them, the credentials that
    were kept nevertheless, and the person's keys for models, which keep working."""

    revoked: list[ManagementKey | OperatorToken] = field(default_factory=list)
    kept: list[ManagementKey | OperatorToken] = field(default_factory=list)
    withdrawn: list[Invitation] = field(default_factory=list)
    keys: list[ApiKey] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.revoked or self.kept or self.withdrawn or self.keys)

    def __str__(self) -> str:
        """For people; empty if there is nothing to report."""
        parts: list[tuple[str, Sequence[Model]]] = [
            ("revoked", self.revoked),
            ("kept and working", self.kept),
            ("invitations withdrawn", self.withdrawn),
            ("keys for models that keep working", self.keys),
        ]
        return "; ".join(f"{words}: {_named(rows)}" for words, rows in parts if rows)


def _named(rows: Sequence[Model]) -> str:
    more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    return ", ".join(str(row) for row in rows[:MOST_NAMED]) + more


def settle(user: User, *, actor: Actor, account: Account | None = None, keep: bool = False) -> LeftBehind:
    """Revoke credentials that the person could no longer create, in one account or in all; with `keep`, only list them.

    Invitations that they could no longer send are withdrawn either way: with one they could return at once.
    """
    left = LeftBehind()
    with transaction.atomic():
        ids = credentials_behind(user)
        for row in _outgrown(user, ids, account):
            if keep:
                left.kept.append(row)
            else:
                revoke_credential(row, actor=actor)
                left.revoked.append(row)
        gone = ids - {row.public_id for row in left.kept}
        for invitation in _uncovered_invitations(user, gone, account):
            _withdraw(invitation, actor)
            left.withdrawn.append(invitation)
        left.keys = list(keys_made_by(user, ids, account)[:MOST_KEYS_NAMED])
    return left


def credentials_behind(user: User) -> set[str]:
    """The ids of all credentials that the person is behind, active or not, over any number of steps."""
    known: set[str] = set()
    found = _ids(Q(created_by=user))
    while found - known:
        known |= found
        found = _ids(Q(made_with__in=found))
    return known


def _ids(where: Q) -> set[str]:
    keys, tokens = ManagementKey.objects.filter(where), OperatorToken.objects.filter(where)
    return {*keys.values_list("public_id", flat=True), *tokens.values_list("public_id", flat=True)}


def keys_made_by(user: User, ids: Iterable[str], account: Account | None) -> QuerySet[ApiKey]:
    """The living keys for models that the person created, or that a credential with one of these ids did."""
    made = (
        ApiKey.objects.living()
        .filter(Q(created_by=user) | Q(made_with__in=ids))
        .select_related("account__plan")
        .order_by("pk")
    )
    return made.filter(account=account) if account else made


def _outgrown(user: User, ids: Iterable[str], account: Account | None) -> list[ManagementKey | OperatorToken]:
    living = ManagementKey.objects.active().filter(public_id__in=ids).select_related("account")
    if account is not None:
        living = living.filter(account=account)
    authorities = _Authorities(user)
    found: list[ManagementKey | OperatorToken] = [
        key
        for key in living.order_by("pk")
        if any(authorities.of(key.account).lacks(actions_of_scope(one)) for one in key.scopes)
    ]
    if account is None and not User.objects.filter(pk=user.pk, is_active=True, is_superuser=True).exists():
        found += OperatorToken.objects.active().filter(public_id__in=ids).order_by("pk")
    return found


def _uncovered_invitations(user: User, ids: Iterable[str], account: Account | None) -> list[Invitation]:
    """Open invitations to roles that the person can no longer give, sent by the person or one of these credentials."""
    rows = Invitation.objects.filter(accepted_at=None, withdrawn_at=None).select_related("account")
    rows = rows.filter(Q(created_by=user) | Q(made_with__in=ids))
    if account is not None:
        rows = rows.filter(account=account)
    authorities = _Authorities(user)
    return [row for row in rows.order_by("pk") if not _covers(authorities.of(row.account), row.role)]


def _covers(authority: Authority, role: str) -> bool:
    return not is_lower(authority.highest_role, role)


def _withdraw(row: Invitation, actor: Actor) -> None:
    row.withdrawn_at = timezone.now()
    row.save(update_fields=["withdrawn_at"])
    after = {"email": row.email, "role": row.role}
    record_act(actor, "invitation.withdraw", row.public_id, account=row.account, after=after)


class _Authorities:
    """The person's authority in each account, looked up once per account."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._known: dict[int, Authority] = {}

    def of(self, account: Account) -> Authority:
        if account.pk not in self._known:
            self._known[account.pk] = authority_of_person(self._user, account)
        return self._known[account.pk]
