"""Who asks, and what they may do here: by the table of actions in `accounts/authority.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import F, FilteredRelation, Model, Q, QuerySet, Value
from django.http import Http404
from rest_framework.exceptions import APIException

from accounts.authority import ANY as ANY
from accounts.authority import EVERY_ROLE as EVERY_ROLE
from accounts.authority import NEVER as NEVER
from accounts.authority import NOBODY
from accounts.authority import Action as Action
from accounts.models import Account, User
from accounts.services.acts import Actor

Row = TypeVar("Row", bound=Model)


class ScopeMissing(APIException):
    """RFC 6750, 3.1: the credential is valid and has not the scope."""

    status_code = 403

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs the scope {scope}." if scope else "No credential of this kind may do this.")
        wanted = f', scope="{scope}"' if scope else ""
        self.challenge = f'Bearer realm="authsvc", error="insufficient_scope"{wanted}'


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a signed-in person (perhaps an operator), a management key of one account, or an operator's token."""

    kind: Literal["session", "management_key", "operator_token"]
    id: str
    actor: Actor
    scopes: frozenset[str] = NOBODY  # of a management key or an operator; a person's say comes from roles
    user: User | None = None
    account_pk: int | None = None  # of a management key

    @property
    def is_operator(self) -> bool:
        """Sees all accounts. What it may do with them its scopes say."""
        return self.kind != "management_key" and bool(self.scopes)

    @property
    def reference(self) -> str:
        """The same for every request of the same caller: what throttles and kept answers belong to."""
        return f"{self.kind}:{self.id}"

    def require(self, action: Action) -> None:
        """Refuse a credential that could never do this, before anything is looked for."""
        if self.kind != "session" and not self._has_scope_for(action):
            scope = action.operator if self.is_operator else action.management
            raise ScopeMissing(scope)

    def may(self, action: Action, role: str | None, *, made_it: bool = False) -> bool:
        """Whether the caller may do it where it has this role."""
        return self._has_scope_for(action) or role in action.roles or (made_it and role in action.own)

    def made(self, row: Any) -> bool:
        return self.user is not None and row.created_by_id == self.user.pk

    def _has_scope_for(self, action: Action) -> bool:
        wanted = action.management if self.kind == "management_key" else action.operator
        if wanted == ANY:
            return self.kind == "management_key" or self.is_operator
        return wanted in self.scopes


def seen_by(caller: Caller, rows: Any, to_account: str = "") -> Any:
    """The rows of accounts that the caller belongs to, each with the `callers_role` there; an operator sees all.

    `to_account` leads from a row to its account, such as `account__`.
    """
    if caller.kind == "management_key":
        return rows.filter(**{f"{to_account}pk": caller.account_pk}).annotate(callers_role=Value(""))
    if caller.user is None:
        return rows.annotate(callers_role=Value(""))
    if not caller.is_operator:
        mine = rows.filter(**{f"{to_account}memberships__user": caller.user})
        return mine.annotate(callers_role=F(f"{to_account}memberships__role"))
    membership = FilteredRelation(
        f"{to_account}memberships", condition=Q(**{f"{to_account}memberships__user": caller.user})
    )
    return rows.annotate(membership_of_caller=membership, callers_role=F("membership_of_caller__role"))


def allowed_to(caller: Caller, action: Action, rows: Any, to_account: str = "") -> Any:
    """The rows that the caller may do this with: for lists, which show what one may see and no more."""
    caller.require(action)
    seen = seen_by(caller, rows, to_account)
    return seen if caller._has_scope_for(action) else seen.filter(callers_role__in=action.roles)


def find(caller: Caller, action: Action, rows: QuerySet[Row], to_account: str = "", **where: Any) -> Row:
    """The one row, to do this with. What the caller cannot see is as unknown as what does not exist (404); what it
    sees and may not touch is 403."""
    caller.require(action)
    row: Row | None = seen_by(caller, rows, to_account).filter(**where).first()
    if row is None:
        raise Http404
    made_it = bool(action.own) and caller.made(row)
    if not caller.may(action, role_in(row), made_it=made_it):
        raise PermissionDenied
    return row


def find_account(caller: Caller, action: Action, public_id: str) -> Account:
    """The account, to do this with or in."""
    return find(caller, action, Account.objects.select_related("plan"), public_id=public_id)


def role_in(row: Model) -> str | None:
    """The caller's role where a row that `seen_by` brought belongs."""
    role: str | None = getattr(row, "callers_role", None)
    return role
