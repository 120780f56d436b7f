"""The caller of the API and what they may do, by the table of actions in `accounts/authority.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import F, FilteredRelation, Model, Q, QuerySet, Value
from django.http import Http404
from rest_framework.exceptions import APIException, ValidationError

from accounts.authority import ANY as ANY
from accounts.authority import EVERY_ROLE as EVERY_ROLE
from accounts.authority import NEVER as NEVER
from accounts.authority import NOBODY
from accounts.authority import Action as Action
from accounts.models import Account, User
from accounts.services.acts import Actor

Row = TypeVar("Row", bound=Model)


class ScopeMissing(APIException):
    """RFC 6750, 3.1: the credential is valid but lacks the scope."""

    status_code = 403

    def __init__(self, scope: str) -> None:
        super().__init__(f"This requires the scope {scope}." if scope else "This kind of credential cannot do this.")
        wanted = f', scope="{scope}"' if scope else ""
        self.challenge = f'Bearer realm="authsvc", error="insufficient_scope"{wanted}'


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in person (possibly an operator), a management key of one account, or an operator token."""

    kind: Literal["session", "management_key", "operator_token"]
    id: str
    actor: Actor
    scopes: frozenset[str] = NOBODY  # of a management key or an operator; others have roles
    user: User | None = None
    account_pk: int | None = None  # of a management key

    @property
    def is_operator(self) -> bool:
        """Sees all accounts; its scopes say what it may do with them."""
        return self.kind != "management_key" and bool(self.scopes)

    @property
    def reference(self) -> str:
        """Identifies the caller across requests: throttles and kept answers belong to it."""
        return f"{self.kind}:{self.id}"

    def require(self, action: Action) -> None:
        """Refuse a credential whose scopes can never allow this, before any look-up. Raises ScopeMissing."""
        if self.kind != "session" and not self._has_scope_for(action):
            scope = action.operator if self.is_operator else action.management
            raise ScopeMissing(scope)

    def may(self, action: Action, role: str | None, *, made_it: bool = False) -> bool:
        """Whether the caller may do it in an account where they have this role."""
        return self._has_scope_for(action) or role in action.roles or (made_it and role in action.own)

    def made(self, row: Any) -> bool:
        return self.user is not None and row.created_by_id == self.user.pk

    def _has_scope_for(self, action: Action) -> bool:
        wanted = action.management if self.kind == "management_key" else action.operator
        if wanted == ANY:
            return self.kind == "management_key" or self.is_operator
        return wanted in self.scopes


def seen_by(caller: Caller, rows: Any, to_account: str = "") -> Any:
    """The rows of the caller's accounts, each with their role there as `callers_role`; an operator sees all rows.

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
    """The rows that the caller may do this with, for lists."""
    caller.require(action)
    seen = seen_by(caller, rows, to_account)
    return seen if caller._has_scope_for(action) else seen.filter(callers_role__in=action.roles)


def find(caller: Caller, action: Action, rows: QuerySet[Row], to_account: str = "", **where: Any) -> Row:
    """The one row, if the caller may do this with it.

    Raises Http404 for a row that the caller cannot see, as if it did not exist, and PermissionDenied for one that they
    can see but not do this with.
    """
    caller.require(action)
    row: Row | None = seen_by(caller, rows, to_account).filter(**where).first()
    if row is None:
        raise Http404
    made_it = bool(action.own) and caller.made(row)
    if not caller.may(action, role_in(row), made_it=made_it):
        raise PermissionDenied
    return row


def find_account(caller: Caller, action: Action, public_id: str) -> Account:
    """The account, if the caller may do this with it. Raises as `find` does."""
    return find(caller, action, Account.objects.select_related("plan"), public_id=public_id)


def role_in(row: Model) -> str | None:
    """The caller's role in the account of a row that `seen_by` selected."""
    role: str | None = getattr(row, "callers_role", None)
    return role


def account_to_act_for(caller: Caller, action: Action, public_id: str | None) -> Account:
    """The named account, or the caller's only one. Raises ValidationError if they have to choose."""
    if public_id is not None:
        return find_account(caller, action, public_id)
    mine = seen_by(caller, Account.objects.select_related("plan")).order_by("pk")
    first: list[Account] = list(mine[:2])
    if len(first) != 1 or caller.is_operator:
        ids = ", ".join(mine.values_list("public_id", flat=True)[:20]) or "none"
        words = "Name an account." if caller.is_operator else f"Name one of your accounts: {ids}."
        raise ValidationError({"account": words})
    if not caller.may(action, role_in(first[0])):
        raise PermissionDenied
    return first[0]
