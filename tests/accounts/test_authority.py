"""What an actor may do in an account, looked up at the moment of acting."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from accounts.authority import (
    NOBODY,
    Action,
    Beyond,
    authority_of,
    authority_of_person,
    check_scopes,
    operator_scopes,
    outranks,
)
from accounts.models import Membership, User
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key, make_operator_token
from tests.conftest import ACTOR


def test_a_management_key_may_nothing_in_another_account(account, pro_account):
    """Whatever the page or call that it reached."""
    key, _ = make_management_key(account, name="k", scopes=["keys:write"], actor=ACTOR)
    actor = Actor("k", credential=key)
    assert authority_of(actor, account).may(Action.CHANGE_KEY)
    assert authority_of(actor, pro_account).scopes == NOBODY
    assert not any(authority_of(actor, pro_account).may(action) for action in Action)


def test_an_operator_token_may_the_same_in_every_account(account, pro_account):
    token, _ = make_operator_token(name="t", scopes=["keys:write"], actor=ACTOR)
    actor = Actor("t", credential=token)
    for each in (account, pro_account):
        assert authority_of(actor, each).may(Action.CHANGE_KEY)
        assert not authority_of(actor, each).may(Action.WRITE_MEMBERS)


def test_a_role_counts_in_its_account_only(account, pro_account):
    ada = User.objects.create_user("ada")
    Membership.objects.create(account=account, user=ada, role="owner")
    assert authority_of_person(ada, account).role == "owner"
    assert not any(authority_of_person(ada, pro_account).may(action) for action in Action)


def test_nobody_is_left_with_rights_who_was_deactivated_or_deleted(account):
    ada = User.objects.create_superuser("ada")
    Membership.objects.create(account=account, user=ada, role="owner")
    assert authority_of_person(ada, account).may(Action.WRITE_MEMBERS)
    User.objects.update(is_active=False)
    assert not any(authority_of_person(ada, account).may(action) for action in Action)
    stale = User.objects.get()
    User.objects.all().delete()
    assert not any(authority_of_person(stale, account).may(action) for action in Action)


def clerk_with(permission: str, *, is_staff: bool = True) -> User:
    app, _, codename = permission.partition(".")
    clerk = User.objects.create_user("clerk", is_staff=is_staff)
    clerk.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return clerk


@pytest.mark.parametrize(
    ("permission", "scopes"),
    [
        ("accounts.change_account", {"accounts:write", "plans:assign"}),
        ("accounts.change_apikey", {"keys:write", "keys:read"}),
        ("quotas.view_usagehour", {"usage:read"}),
        ("accounts.view_account", set()),
        ("accounts.view_apikey", set()),
    ],
)
def test_a_permission_in_the_admin_gives_its_scopes_to_staff_alone(db, permission, scopes):
    clerk = clerk_with(permission)
    assert operator_scopes(clerk) == scopes
    clerk.is_staff = False
    assert operator_scopes(clerk) == NOBODY


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_who_may_make_no_management_keys_makes_not_even_one_that_reads(account, role):
    ada = User.objects.create_user("ada")
    Membership.objects.create(account=account, user=ada, role=role)
    with pytest.raises(Beyond):
        check_scopes(Actor("ada", user=ada), account, ["keys:read"])


def test_who_was_deactivated_outranks_nobody(account):
    root, other = User.objects.create_superuser("root"), User.objects.create_user("other")
    peer = User.objects.create_superuser("peer")
    assert outranks(root, other) and outranks(root, peer)
    root.is_active = False
    assert not outranks(root, other) and not outranks(root, peer)
