"""Forms on pages with a Referrer-Policy, submitted like a browser does: the policy determines the Origin header."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.test import Client

from accounts.models import Membership, User
from accounts.services.invitations import invite
from tests.accounts.forms import posted
from tests.conftest import ACTOR

HERE = "http://testserver"


def browser_headers(page, path):
    """The Origin and Referer headers of a form with the same origin (https://fetch.spec.whatwg.org/#origin-header)."""
    policy = page["Referrer-Policy"]
    origin = "null" if policy == "no-referrer" else HERE
    referer = {"no-referrer": None, "strict-origin": f"{HERE}/"}.get(policy, f"{HERE}{path}")
    return {"HTTP_ORIGIN": origin} | ({"HTTP_REFERER": referer} if referer else {})


@pytest.fixture
def link(account, settings):
    invite(account, email="new@example.org", role="member", actor=ACTOR)
    (path,) = re.findall(rf"{re.escape(settings.CONSOLE_URL)}(\S+)", str(mail.outbox[-1].body))
    return path


@pytest.mark.django_db(transaction=True)
def test_an_invitation_can_be_accepted_in_a_browser_and_no_referer_contains_its_secret(link):
    browser = Client(enforce_csrf_checks=True)
    page = browser.get(link)
    headers = browser_headers(page, link)
    password = "a long pass phrase"
    fields = posted(page, username="newcomer", password1=password, password2=password)
    done = browser.post(link, fields, **headers)
    assert (done.status_code, "Welcome" in done.content.decode()) == (200, True)
    assert Membership.objects.filter(user__username="newcomer").exists()
    assert link not in headers.get("HTTP_REFERER", "")
    assert done["Referrer-Policy"] == page["Referrer-Policy"]


@pytest.mark.django_db(transaction=True)
def test_signing_out_works_on_the_admin_page_of_a_new_key(account):
    User.objects.create_superuser("ada", password="x")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.get())
    form = "/admin/accounts/apikey/add/"
    shown = browser.post(form, posted(browser.get(form), for_account=account.pk, name="one"), HTTP_ORIGIN=HERE)
    assert shown.status_code == 200 and "ask_" in shown.content.decode()
    (token, *_) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', shown.content.decode())
    fields = {"csrfmiddlewaretoken": token}
    signed_out = browser.post("/admin/logout/", fields, **browser_headers(shown, form))
    assert signed_out.status_code in (200, 302)
