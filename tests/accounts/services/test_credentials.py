"""The services of credentials check rights and states again, under the locks that pages and API do not hold."""

from __future__ import annotations

import pytest

from accounts.authority import Beyond
from accounts.models import ManagementKey, OperatorToken, User
from accounts.refused import Refused
from accounts.services.accounts import close_account
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.roles import set_role
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_closed_account_gets_no_management_key(account):
    close_account(account, actor=ACTOR)
    with pytest.raises(Refused, match="is closed"):
        make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    assert not ManagementKey.objects.exists()


def test_nobody_makes_a_management_key_that_does_more_than_they_may(account):
    mia = User.objects.create_user("mia")
    set_role(account, mia, "owner", actor=ACTOR)
    actor = Actor("mia", user=mia)
    set_role(account, mia, "member", actor=ACTOR)
    with pytest.raises(Beyond):
        make_management_key(account, name="k", scopes=["keys:write"], actor=actor)
    assert not ManagementKey.objects.exists()


@pytest.mark.parametrize(
    ("rights", "may"),
    [
        ({"is_superuser": True}, True),
        ({"is_superuser": True, "is_active": False}, False),
        ({"is_staff": True}, False),
        ({}, False),
    ],
)
def test_only_active_superusers_make_operator_tokens(db, rights, may):
    actor = Actor("root", user=User.objects.create_user("root", **rights))
    if may:
        make_operator_token(name="t", scopes=["accounts:write"], actor=actor)
    else:
        with pytest.raises(Beyond, match="superusers"):
            make_operator_token(name="t", scopes=["accounts:write"], actor=actor)
    assert OperatorToken.objects.exists() is may


def test_a_name_is_kept_without_the_blanks_around_it(account):
    assert make_management_key(account, name="  ci ", scopes=["keys:read"], actor=ACTOR)[0].name == "ci"
