"""Management keys on the team's pages."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, ManagementKey
from accounts.services.credentials import make_management_key
from accounts.services.keys import issue_key
from tests.conftest import ACTOR
from tests.console.conftest import acting, person
from tests.console.test_keys import told
from tests.console.test_team import seat, team

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "management-keys/new/"


def sent(client, account, **more) -> dict[str, object]:
    page = client.get(team(account, NEW)).content.decode()
    (key_id,) = re.findall(r'name="key_id" value="(\w+)"', page)
    return {"key_id": key_id, "name": "deploy", "scopes": ["keys:read", "keys:write"], "expiry": "90", **more}


def test_a_management_key_is_made_shown_once_used_and_revoked(account, owner, client):
    answer = owner.post(team(account, NEW), sent(owner, account))
    (secret,) = re.findall(r'<code id="secret"[^>]*>(\w+)</code>', answer.content.decode())
    assert answer.status_code == 201 and "no-store" in answer["Cache-Control"]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    assert client.get("/api/v1/keys/", **bearer).status_code == 200
    row = ManagementKey.objects.get()
    page = owner.get(team(account)).content.decode()
    assert secret not in page and row.start in page and "Create, change, rotate and revoke keys" in page
    owner.post(team(account, f"management-keys/{row.public_id}/revoke/"))
    assert client.get("/api/v1/keys/", **bearer).status_code == 401
    assert row.start not in owner.get(team(account)).content.decode()


def test_sending_the_form_twice_makes_one(account, owner):
    form = sent(owner, account)
    assert owner.post(team(account, NEW), form).status_code == 201
    again = owner.post(team(account, NEW), form)
    assert again.status_code == 409 and "already been created" in again.content.decode()
    assert ManagementKey.objects.count() == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"scopes": []}, "Choose at least one."),
        ({"scopes": ["accounts:write"]}, "not one of the available choices"),
        ({"expiry": "0"}, "not one of the available choices"),
    ],
)
def test_a_faulty_form_says_where_and_makes_nothing(account, owner, more, said):
    answer = owner.post(team(account, NEW), sent(owner, account, **more))
    assert answer.status_code == 422 and said in answer.content.decode() and not ManagementKey.objects.exists()


@pytest.mark.parametrize("days", [30, 90, 365])
def test_a_management_key_expires_after_the_chosen_days(account, owner, days):
    before = timezone.now()
    owner.post(team(account, NEW), sent(owner, account, expiry=str(days)))
    ends = ManagementKey.objects.get().expires_at
    assert ends is not None and before <= ends - timedelta(days=days) <= timezone.now()


def test_a_management_key_may_never_expire(account, owner):
    owner.post(team(account, NEW), sent(owner, account, expiry="never"))
    assert ManagementKey.objects.get().expires_at is None


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_members_and_viewers_see_none(account, role):
    row, _ = make_management_key(account, name="deploy", scopes=["keys:read"], actor=ACTOR)
    assert row.start not in person("mia", account, role).get(team(account)).content.decode()


def test_a_closed_account_offers_none(account, owner):
    form = sent(owner, account)
    from accounts.services.accounts import close_account

    close_account(account, actor=ACTOR)
    assert NEW not in owner.get(team(account)).content.decode()
    assert owner.post(team(account, NEW), form).status_code == 409


# Removing somebody


@pytest.mark.parametrize(("wish", "is_revoked"), [("keep", False), ("revoke", True), ("", True)])
def test_removing_somebody_lists_their_management_keys_and_keeps_or_revokes_them(account, owner, wish, is_revoked):
    grace = person("grace", account, "admin")
    row, _ = make_management_key(account, name="deploy", scopes=["keys:read"], actor=acting(grace))
    path = f"{seat(grace).public_id}/"
    assert row.start in owner.get(team(account, path)).content.decode()
    owner.post(team(account, f"{path}remove/"), {"management_keys": wish})
    row.refresh_from_db()
    assert bool(row.revoked_at) is is_revoked
    assert ("1 management key was revoked." if is_revoked else "1 management key keeps working.") in told(
        owner, team(account)
    )


def test_who_leaves_cannot_keep_their_own_and_then_stays(account, owner):
    grace = person("grace", account, "admin")
    row, _ = make_management_key(account, name="deploy", scopes=["keys:read"], actor=acting(grace))
    key = issue_key(account, name="hers", actor=acting(grace)).key
    grace.post(team(account, f"{seat(grace).public_id}/remove/"), {"management_keys": "keep", "keys": "revoke"})
    row.refresh_from_db()
    key.refresh_from_db()
    assert seat(grace) and row.revoked_at is None and key.revoked_at is None
    assert not AuditEvent.objects.filter(act="key.revoke").exists()
