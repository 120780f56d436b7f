"""A signed-in person in one of their accounts: what every page of the console begins with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.http import Http404, HttpRequest

from accounts.authority import Action, Authority, operator_scopes
from accounts.models import Account, ApiKey, Membership, User
from accounts.services.acts import Actor

MOST_IN_THE_SWITCHER = 50
LAST_ACCOUNT = "console_account"  # in the session: where signing in leads to


@dataclass(frozen=True)
class Seat:
    """Where somebody sits, and what they may do from there."""

    actor: Actor
    user: User
    account: Account
    role: str
    memberships: tuple[Membership, ...]  # every one of the person, this account's among them

    @cached_property
    def authority(self) -> Authority:
        return Authority("person", operator_scopes(self.user), self.role)

    def may(self, action: Action) -> bool:
        return self.authority.may(action)

    def may_change(self, key: ApiKey) -> bool:
        """Whether the person may change this key: by their role, or because they made it."""
        made_it = key.created_by_id == self.user.pk
        return self.may(Action.CHANGE_KEY) or (made_it and self.role in Action.CHANGE_KEY.own)

    @property
    def role_title(self) -> str:
        return str(Membership.Role(self.role).label)

    @property
    def others(self) -> list[Membership]:
        """The accounts to switch to."""
        return [one for one in self.memberships if one.account_id != self.account.pk][:MOST_IN_THE_SWITCHER]


def memberships_of(user: User) -> tuple[Membership, ...]:
    rows = Membership.objects.filter(user=user).select_related("account__plan")
    return tuple(rows.order_by("account__name", "account_id"))


def take_seat(request: HttpRequest, public_id: str) -> Seat:
    """The person's seat in this account. An account they do not belong to is a 404, like one that does not exist."""
    user = request.user
    assert isinstance(user, User)
    memberships = memberships_of(user)
    mine = next((one for one in memberships if one.account.public_id == public_id), None)
    if mine is None:
        raise Http404
    if request.session.get(LAST_ACCOUNT) != public_id:
        request.session[LAST_ACCOUNT] = public_id
    return Seat(Actor.person(request), user, mine.account, mine.role, memberships)


def seat_of_last_account(request: HttpRequest) -> Seat | None:
    """The person's seat in the account that was open last, for pages that belong to no account."""
    user = request.user
    if not isinstance(user, User):
        return None
    memberships, last = memberships_of(user), request.session.get(LAST_ACCOUNT)
    mine = next((one for one in memberships if one.account.public_id == last), next(iter(memberships), None))
    return None if mine is None else Seat(Actor.person(request), user, mine.account, mine.role, memberships)
