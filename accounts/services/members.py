"""Members of an account: giving, changing and removing their roles, as far as the actor may."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext

from accounts.authority import Action, Beyond, authority_of, check_role
from accounts.facts.publish import Publication, models_base
from accounts.models import Account, Membership, User
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.keys import revoke_key
from accounts.services.outgrown import LeftBehind, credentials_behind, keys_made_by
from accounts.services.roles import set_role

Role = Membership.Role


@dataclass(frozen=True, slots=True)
class Wish:
    """What should happen to the credentials and keys of a member who loses rights."""

    keep_management_keys: bool = False
    revoke_keys: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    left: LeftBehind
    publications: tuple[Publication, ...] = ()
    keys_are_revoked: bool = False

    @property
    def is_pending(self) -> bool:
        return any(publication.is_pending for publication in self.publications)


def change_member(member: Membership, role: str | None, *, actor: Actor, wish: Wish = Wish()) -> Change:
    """Give a member a different role; None removes the member. The last owner of an account can't be removed."""
    with transaction.atomic():
        account = (
            models_base(Account).select_for_update().get(pk=member.account_id)
        )  # so that two owners cannot go at once
        owners = account.memberships.filter(role=Role.OWNER)
        is_owner = owners.filter(pk=member.pk).exists()
        if is_owner and role != Role.OWNER and not owners.exclude(pk=member.pk).exists():
            words = gettext("%(name)s is the last owner. Make somebody else an owner first.")
            raise Refused(words % {"name": member.user.get_username()})
        return put_member(account, member.user, role, actor=actor, wish=wish)


def put_member(account: Account, user: User, role: str | None, *, actor: Actor, wish: Wish = Wish()) -> Change:
    """Give a person a role in the account, or None, as far as the actor may. Everybody may leave."""
    with transaction.atomic():
        models_base(Account).select_for_update().get(pk=account.pk)
        before = account.memberships.filter(user=user).values_list("role", flat=True).first()
        is_self = actor.user is not None and actor.user.pk == user.pk
        is_leaving = is_self and role is None
        if not is_leaving:
            check_role(actor, account, before, role)
        _check_wish(actor, account, wish, is_self=is_self)
        left = set_role(account, user, role, actor=actor, keep_management_keys=wish.keep_management_keys)
        keys = list(keys_made_by(user, credentials_behind(user), account)) if wish.revoke_keys else []
        return Change(left, tuple(revoke_key(key, actor=actor) for key in keys), bool(keys))


def _check_wish(actor: Actor, account: Account, wish: Wish, *, is_self: bool) -> None:
    authority = authority_of(actor, account)
    if wish.keep_management_keys and (is_self or not authority.may(Action.WRITE_MANAGEMENT_KEYS)):
        raise Beyond(
            gettext("Management keys can be kept only by somebody other than their creator who may create them.")
        )
    if wish.revoke_keys and not is_self and not authority.may(Action.CHANGE_KEY):
        raise Beyond(gettext("You may not revoke keys."), "keys:write" if actor.credential else "")
