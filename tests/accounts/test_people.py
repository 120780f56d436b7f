"""User names are not case-sensitive: no two differ only in case."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.models import Membership, User, caseless
from accounts.services.invitations import invite, link_to
from tests.accounts.forms import complaints, posted, send
from tests.api.callers import operator
from tests.conftest import ACTOR

PASSWORD = "correct-horse-9"


@pytest.fixture
def olga(db):
    return User.objects.create_user("olga@example.org", password=PASSWORD)


@pytest.mark.parametrize("typed", ["olga@example.org", "Olga@Example.org", "OLGA@EXAMPLE.ORG", "ｏlga@example.org"])
def test_users_can_sign_in_whatever_the_case_of_the_typed_name(olga, redis_db, typed):
    client = Client()
    send(client, "/login/", username=typed, password=PASSWORD)
    assert client.session.get("_auth_user_id") == str(olga.pk)


def test_case_is_ignored_beyond_ascii_too(db, client):
    User.objects.create_user("Zoë.Ünal", password=PASSWORD)
    assert client.login(username="zOË.üNAL", password=PASSWORD)
    assert not client.login(username="zoe.unal", password=PASSWORD)


def test_a_second_name_that_differs_only_in_case_is_refused(olga):
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("OLGA@example.org")
    with pytest.raises(ValidationError, match="A user with that username already exists"):
        User(username="OLGA@example.org", password="x").full_clean()
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", "--noinput", "--username", "OLGA@example.org", "--email", "o@example.org")
    assert User.objects.count() == 1


def test_neither_the_admin_nor_an_invitation_creates_a_second_one(olga, admin_client, account):
    page = send(
        admin_client,
        "/admin/accounts/user/add/",
        username="Olga@Example.org",
        usable_password="true",
        password1=PASSWORD,
        password2=PASSWORD,
    )
    assert complaints(page) == ["A user with that username already exists."]
    path = link_to(invite(account, email="OLGA@example.org", role="member", actor=ACTOR)).partition("8081")[2]
    page = Client().get(path)
    answer = Client().post(path, posted(page, password1=PASSWORD, password2=PASSWORD))
    assert complaints(answer) == ["A user with that username already exists."]
    assert User.objects.filter(username__iexact="olga@example.org").count() == 1


def test_a_renamed_user_is_found_only_by_the_new_name(olga):
    olga.username = "Otto"
    olga.save(update_fields=["username"])
    assert User.objects.get_by_natural_key("OTTO") == olga
    with pytest.raises(User.DoesNotExist):
        User.objects.get_by_natural_key("olga@example.org")
    olga.username = "OTTO"  # another case of one's own name
    olga.full_clean()
    olga.save()
    User.objects.create_user("olga@example.org")


def test_an_operator_can_add_somebody_by_a_name_in_a_different_case(olga, account):
    answer = operator("accounts:write").post(
        f"/api/v1/accounts/{account.public_id}/members/",
        {"username": "OLGA@example.org", "role": "viewer"},
        content_type="application/json",
    )
    assert answer.status_code == 201 and Membership.objects.get().user == olga


def test_the_folded_name_of_the_longest_name_fits():
    assert len(caseless("ΐ" * 150)) <= 600
