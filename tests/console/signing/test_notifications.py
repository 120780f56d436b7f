"""The page on which people choose their notifications, and sign-ins from new places."""

from __future__ import annotations

import re

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from accounts.models import Notification, SignInPlace, Topic
from tests.console.conftest import person
from tests.console.signing.people import HERE, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/accounts/notifications/"


def ticked(client: Client) -> set[str]:
    html = client.get(PAGE).content.decode()
    return set(re.findall(r'name="topics" value="(\w+)" checked', html))


def test_everything_is_on_until_somebody_switches_it_off(account, owner):
    assert ticked(owner) == set(Topic.values)
    answer = owner.post(PAGE, {"topics": ["expiry", "sign_in"]}, follow=True)
    assert "Your choice is saved" in answer.content.decode() and ticked(owner) == {"expiry", "sign_in"}
    owner.post(PAGE, {"topics": ["quota", "nonsense"]})
    assert ticked(owner) == {"quota"}
    owner.post(PAGE)
    assert ticked(owner) == set()


def test_a_choice_is_a_persons_own(account, owner):
    owner.post(PAGE)
    assert ticked(person("bob", account)) == set(Topic.values)


def test_who_is_not_signed_in_is_asked_to(client):
    assert client.get(PAGE).status_code == 302


def test_an_address_that_is_not_confirmed_is_named_as_the_reason(account, owner):
    EmailAddress.objects.create(user=owner.user, email="ada@elsewhere.example", verified=True)
    assert "Confirm yours" in owner.get(PAGE).content.decode()
    EmailAddress.objects.create(user=owner.user, email=owner.user.email, verified=True, primary=True)
    html = owner.get(PAGE).content.decode()
    assert "Confirm yours" not in html and "the mails that ada@example.org gets" in html


def test_where_they_are_off_the_page_says_so(account, owner, settings):
    settings.NOTIFICATIONS = False
    assert "sends no notifications" in owner.get(PAGE).content.decode()


def test_members_learn_that_they_get_the_ones_about_signing_in(account):
    words = "only those about signing in"
    assert words in person("mia", account, "member").get(PAGE).content.decode()
    assert words not in person("ada", account, "admin").get(PAGE).content.decode()


def test_the_account_page_leads_there(account, owner):
    assert PAGE in owner.get(f"/console/{account.public_id}/account/").content.decode()


def test_signing_in_with_a_second_browser_is_told(account):
    user = mia()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    for agent in ("Firefox/1", "Firefox/2", "Chrome/1"):
        browser = Client(**HERE, headers={"User-Agent": agent})
        sign_in(browser)
        assert browser.get(PAGE).status_code == 200
    assert SignInPlace.objects.count() == 2
    assert [row.details["browser"] for row in Notification.objects.all()] == ["Chrome"]
