"""The services of credentials check rights and states again, under the locks that pages and API do not hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.authority import Beyond
from accounts.models import AuditEvent, ManagementKey, OperatorToken, User
from accounts.refused import Refused
from accounts.services.accounts import close_account
from accounts.services.acts import Actor
from accounts.services.credentials import (
    OPERATOR_SCOPES,
    find_credential,
    make_management_key,
    make_operator_token,
    revoke_credential,
)
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


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(("later", "works"), [(-MOMENT, True), (timedelta(0), False), (MOMENT, False)])
def test_a_credential_works_until_the_moment_at_which_it_expires(account, later, works):
    key, text = make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    ManagementKey.objects.update(expires_at=NOW)
    key.refresh_from_db()
    assert key.is_in_force(NOW + later) is works
    assert (find_credential(text, NOW + later) is not None) is works


def test_a_use_is_noted_a_minute_after_the_last_that_was(account):
    key, text = make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    minute = timedelta(minutes=1)
    for used_at, noted in ((NOW, NOW), (NOW + minute - MOMENT, NOW), (NOW + minute, NOW + minute)):
        find_credential(text, used_at)
        key.refresh_from_db()
        assert key.last_used_at == noted


def test_what_a_credential_creates_may_expire_with_it_and_does_if_nothing_is_said(account):
    end = timezone.now() + timedelta(days=3)
    token, _ = make_operator_token(name="t", scopes=list(OPERATOR_SCOPES), expires_at=end, actor=ACTOR)
    actor = Actor("t", credential=token)
    for wanted in (None, end):
        key, _ = make_management_key(account, name="k", scopes=["keys:read"], expires_at=wanted, actor=actor)
        assert key.expires_at == end
    with pytest.raises(ValidationError, match="no later than"):
        make_management_key(account, name="k", scopes=["keys:read"], expires_at=end + MOMENT, actor=actor)


def test_scopes_are_kept_once_and_in_the_order_of_the_documents(account):
    key, _ = make_management_key(account, name=" k ", scopes=["usage:read", "keys:read", "usage:read"], actor=ACTOR)
    assert (key.name, key.scopes) == ("k", ["keys:read", "usage:read"])


def test_revoking_twice_is_recorded_once_and_keeps_the_first_time(account):
    key, _ = make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    revoke_credential(key, actor=ACTOR)
    moment = key.revoked_at
    revoke_credential(key, actor=ACTOR)
    key.refresh_from_db()
    assert key.revoked_at == moment
    assert AuditEvent.objects.filter(act="management_key.revoke").count() == 1


def test_a_name_is_kept_without_the_blanks_around_it(account):
    assert make_management_key(account, name="  ci ", scopes=["keys:read"], actor=ACTOR)[0].name == "ci"
