"""What an actor may do in an account, looked up at the moment of acting."""

from __future__ import annotations

from accounts.authority import NOBODY, Action, authority_of, authority_of_person
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
