"""The link that makes the first operator: it works once, within one hour, and a used one looks like a wrong one."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from threading import Barrier
from urllib.parse import urlsplit

import pytest
from django.core.signing import TimestampSigner
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, User
from accounts.refused import Refused
from accounts.services.roles import create_first_operator
from console import first_operator

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
FILLED_IN = {"username": "ada", "email": "ada@example.org", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture
def link() -> str:
    """The path of a fresh link."""
    made = first_operator.new_link()
    assert made is not None
    return urlsplit(made).path


def entered(link: str, **options) -> Client:
    """A browser that has opened the link and shows the form."""
    browser = Client(**options)
    opened = browser.get(link)
    assert (opened.status_code, opened["Location"]) == (302, "/first-operator/")
    return browser


@contextmanager
def now_is(monkeypatch, moment):
    with monkeypatch.context() as patched:
        patched.setattr("django.core.signing.time.time", moment.timestamp)
        yield


# The way in


def test_the_link_begins_with_the_console_s_address(settings):
    settings.CONSOLE_URL = "https://console.example.org"
    assert (first_operator.new_link() or "").startswith("https://console.example.org/first-operator/0.")


def test_who_opens_the_link_becomes_the_operator_and_is_in_the_admin(link):
    browser = entered(link)
    made = browser.post("/first-operator/", FILLED_IN, REMOTE_ADDR="203.0.113.7")
    assert (made.status_code, made["Location"]) == (302, "/admin/")
    assert browser.get("/admin/").status_code == 200
    ada = User.objects.get()
    assert (ada.username, ada.email, ada.is_superuser, ada.is_staff) == ("ada", "ada@example.org", True, True)
    event = AuditEvent.objects.get()
    assert (event.actor, event.act, event.subject, event.address) == (
        "ada",
        "user.first_operator",
        "ada",
        "203.0.113.7",
    )
    assert PASSWORD not in str(event.after)


def test_signing_in_changes_the_session(link):
    browser = entered(link)
    before = browser.cookies["sessionid"].value
    browser.post("/first-operator/", FILLED_IN)
    assert browser.cookies["sessionid"].value != before
    assert "first_operator_token" not in browser.session


def test_a_browser_s_form_passes_the_check_for_forged_requests(link, settings):
    settings.CONSOLE_URL, settings.CSRF_TRUSTED_ORIGINS = "http://console.localhost", ["http://console.localhost"]
    browser = entered(link, enforce_csrf_checks=True, headers={"host": "console.localhost"})
    page = browser.get("/first-operator/").content.decode()
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[0]
    forged = browser.post("/first-operator/", FILLED_IN, headers={"origin": "http://console.localhost"})
    assert forged.status_code == 403
    elsewhere = {"origin": "http://evil.example"}
    filled_in = {**FILLED_IN, "csrfmiddlewaretoken": token}
    assert browser.post("/first-operator/", filled_in, headers=elsewhere).status_code == 403
    made = browser.post("/first-operator/", filled_in, headers={"origin": "http://console.localhost"})
    assert made.status_code == 302


# The form


def test_every_field_has_a_label_and_a_description(link):
    page = entered(link).get("/first-operator/").content.decode()
    fields = re.findall(r'<input type="(?:text|email|password)"[^>]*>', page)
    assert len(fields) == 4
    for field in fields:
        (name,) = re.findall(r'\bid="([^"]+)"', field)
        assert f'<label for="{name}">' in page
        assert 'autocomplete="' in field and " required" in field
        (described_by,) = re.findall(r'aria-describedby="([^"]+)"', field)
        assert f'id="{described_by}"' in page


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"password2": "another one"}, "The two password fields didn’t match."),
        ({"password1": "ada12", "password2": "ada12"}, "This password is too short."),
        ({"password1": "password1", "password2": "password1"}, "This password is too common."),
        ({"username": ""}, "This field is required."),
        ({"username": "a b"}, "Enter a valid username."),
        ({"email": "nowhere"}, "Enter a valid email address."),
        ({"username": "TAKEN"}, "A user with that username already exists."),
    ],
)
def test_an_error_is_shown_beside_its_field_and_no_user_is_made(link, changed, said):
    User.objects.create_user("taken")
    page = entered(link).post("/first-operator/", {**FILLED_IN, **changed})
    assert page.status_code == 422
    text = page.content.decode().replace("&#x27;", "’")
    assert said in text
    assert 'aria-invalid="true"' in text and 'role="alert"' in text
    assert not User.objects.filter(is_superuser=True).exists()
    assert "correct horse" not in text  # no password is sent back


def test_a_refused_form_may_be_submitted_again(link):
    browser = entered(link)
    browser.post("/first-operator/", {**FILLED_IN, "password2": "another one"})
    assert browser.post("/first-operator/", FILLED_IN).status_code == 302


# What does not open it


def gone(path: str, browser: Client | None = None) -> tuple[int, bytes]:
    answer = (browser or Client()).get(path)
    return answer.status_code, answer.content


@pytest.fixture
def useless(link, monkeypatch) -> dict[str, str]:
    """Paths of each kind that must not open, while there is no operator."""
    signer = TimestampSigner(sep=".", salt="console.first_operator")
    with now_is(monkeypatch, timezone.now() - timedelta(hours=1, seconds=5)):
        expired = signer.sign("0")
    return {
        "expired": expired,
        "cut": link.split("/")[2][:-1],
        "changed": "1" + link.split("/")[2][1:],
        "of another use": TimestampSigner(sep=".", salt="else").sign("0"),
        "of another key": TimestampSigner(key="x" * 50, sep=".", salt="console.first_operator").sign("0"),
        "no number": signer.sign("x"),
        "invented": "0.aaaaaa.bbbb",
        "long": "a" * 4000,
    }


def test_wrong_expired_and_used_links_are_answered_alike(link, useless):
    answers = {kind: gone(f"/first-operator/{token}/") for kind, token in useless.items()}
    entered(link).post("/first-operator/", FILLED_IN)
    answers["used"] = gone(link)
    assert {status for status, _ in answers.values()} == {404}
    assert len({body for _, body in answers.values()}) == 1, answers.keys()
    assert b"manage.py first_operator_link" in answers["used"][1]


def test_a_link_opens_until_its_hour_is_over(monkeypatch, link):
    with now_is(monkeypatch, timezone.now() + timedelta(minutes=59)):
        assert Client().get(link).status_code == 302
    with now_is(monkeypatch, timezone.now() + timedelta(minutes=61)):
        assert Client().get(link).status_code == 404


def test_a_form_opened_in_time_is_refused_an_hour_later(monkeypatch, link):
    browser = entered(link)
    with now_is(monkeypatch, timezone.now() + timedelta(minutes=61)):
        assert browser.post("/first-operator/", FILLED_IN).status_code == 404
    assert not User.objects.exists()


def test_the_form_does_not_open_without_a_link():
    assert gone("/first-operator/")[0] == 404
    assert Client().post("/first-operator/", FILLED_IN).status_code == 404


def test_a_used_link_stays_used_when_its_operator_is_deactivated(link):
    entered(link).post("/first-operator/", FILLED_IN)
    User.objects.update(is_active=False)
    assert gone(link)[0] == 404
    again = first_operator.new_link()
    assert again is not None and entered(urlsplit(again).path)


def test_staff_who_are_not_superusers_are_not_operators(link):
    User.objects.create_user("mia", is_staff=True)
    assert entered(link)


def test_a_guess_costs_no_query(useless, django_assert_num_queries):
    with django_assert_num_queries(0):
        for token in useless.values():
            Client().get(f"/first-operator/{token}/")


# What leaks


def test_no_answer_is_cached_and_no_referrer_is_sent(link):
    browser = Client()
    for answer in (browser.get(link), Client().get("/first-operator/wrong/")):
        assert answer["Referrer-Policy"] == "no-referrer"
        assert "no-store" in answer["Cache-Control"]
    form = browser.get("/first-operator/")
    assert "no-store" in form["Cache-Control"]
    token = link.split("/")[2]
    assert token not in form.content.decode()  # so the form's URL, referrer and page are harmless


@pytest.fixture
def log() -> Iterator[StringIO]:
    """The output of the product's own log handler."""
    (handler,) = [one for one in logging.getLogger().handlers if one.get_name() == "console"]
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(StringIO())
    yield handler.stream
    handler.setStream(before)


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_is_in_no_log_even_when_the_database_fails(link, log, monkeypatch, method):
    def fails(*_):
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(first_operator, "_superusers", fails)
    browser = Client(raise_request_exception=False, enforce_csrf_checks=True)
    assert getattr(browser, method)(link).status_code == {"get": 503, "post": 403}[method]
    assert "/first-operator/…/" in log.getvalue()
    assert link.split("/")[2] not in log.getvalue()


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_submissions_one_makes_the_operator():
    together = Barrier(6)

    def send(number: int) -> str:
        together.wait(60)
        try:
            name = f"ada{number}"
            create_first_operator(username=name, email="", password=PASSWORD, address="")
        except Refused:
            return ""
        finally:
            connection.close()
        return name

    with ThreadPoolExecutor(6) as pool:
        made = [name for name in pool.map(send, range(6)) if name]
    assert [user.username for user in User.objects.filter(is_superuser=True)] == made
    assert len(made) == AuditEvent.objects.count() == 1


def test_the_second_submission_is_told_that_the_link_does_not_work(link):
    first, second = entered(link), entered(link)
    assert first.post("/first-operator/", FILLED_IN).status_code == 302
    late = second.post("/first-operator/", {**FILLED_IN, "username": "eve"})
    assert late.status_code == 404
    assert not User.objects.filter(username="eve").exists()
