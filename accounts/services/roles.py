"""Writing a person's role in an account, and creating the first operator."""

from __future__ import annotations

from django.db import connection, transaction
from django.utils.translation import gettext

from accounts import caps
from accounts.authority import is_lower
from accounts.facts.publish import models_base
from accounts.models import (
    Account,
    Membership,
    User,
)
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.outgrown import LeftBehind, settle
from accounts.services.record import record_change


def set_role(
    account: Account, user: User, role: str | None, *, actor: Actor, keep_management_keys: bool = False
) -> LeftBehind:
    """Give a person a role in the account; None removes the membership. The gate doesn't know people.

    A person who loses rights also loses the management keys that they could no longer create, unless those are kept.
    `members.py` checks first whether the actor may do this.
    """
    with transaction.atomic():
        # So that two can't pass the cap at once, and nobody creates a management key with a role that is being removed.
        models_base(Account).select_for_update().get(pk=account.pk)
        existing = account.memberships.filter(user=user).first()
        old = existing.role if existing else None
        before = {"user": user.get_username(), "role": old} if old else None
        if role is None:
            if existing is not None:
                existing.delete()
        else:
            if existing is None:
                caps.require_room_for_a_member(account)
            member = existing or Membership(account=account, user=user)
            member.role = role
            member.full_clean()
            member.save()
        after = {"user": user.get_username(), "role": role} if role else None
        if before == after:
            return LeftBehind()
        record_change(actor, "account.member", account, account.public_id, before, after)
        if not is_lower(role, old):
            return LeftBehind()
        return settle(user, actor=actor, account=account, keep=keep_management_keys)


def create_first_operator(*, username: str, email: str, password: str, address: str) -> User:
    """Create the first superuser. Raises Refused if there is one already: of two concurrent calls one wins."""
    with transaction.atomic():
        _lock_people()
        if User.objects.filter(is_superuser=True, is_active=True).exists():
            raise Refused(gettext("There is already an operator."))
        user = User.objects.create_superuser(username, email, password)
        rights = {"is_active": True, "is_staff": True, "is_superuser": True}
        record_change(Actor(username, address, user), "user.first_operator", None, username, None, rights)
    return user


def _lock_people() -> None:
    """Keep others from adding or changing users until this transaction ends. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute(f"LOCK TABLE {connection.ops.quote_name(User._meta.db_table)} IN SHARE ROW EXCLUSIVE MODE")
