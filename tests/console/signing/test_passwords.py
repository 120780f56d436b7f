"""Passwords: which ones are taken, and how they are changed and reset."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from accounts.models import User
from store.throttles import FORMS_FROM, RESETS_TO, mailbox
from tests.api.callers import fill
from tests.console.signing.people import HERE, PASSWORD, acts, home, is_signed_in, link_in_the_last_mail, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "a new horse battery"
RESET = "/accounts/password/reset/"


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short horse", "too short"),
        ("098712360987", "entirely numeric"),
        ("q1w2e3r4t5y6", "too common"),
        ("mia@example.org", "too similar"),
    ],
)
def test_a_weak_password_is_refused(password, why):
    client = Client()
    client.force_login(mia())
    page = client.post(
        "/accounts/password/change/", {"oldpassword": PASSWORD, "password1": password, "password2": password}
    )
    assert page.status_code == 200 and why in page.content.decode()


def test_the_first_password_of_a_person_without_one_is_written_down():
    """Such as one who has only signed in through an identity provider."""
    user = mia()
    user.set_unusable_password()
    user.save()
    client = Client(**HERE)
    client.force_login(user)
    assert client.post("/accounts/password/set/", {"password1": NEW, "password2": NEW}).status_code == 302
    assert User.objects.get().check_password(NEW)
    assert [(row.actor, row.act) for row in acts("user.password_change")] == [("mia", "user.password_change")]


def test_changing_it_ends_other_sessions_and_is_written_down():
    mia()
    here, there = Client(**HERE), Client()
    sign_in(here), sign_in(there)
    done = here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert done.status_code == 302
    assert here.get("/accounts/password/change/").status_code == 200
    assert there.get("/accounts/password/change/").status_code == 302
    (row,) = acts("user.password_change")
    assert (row.actor, row.subject, row.address) == ("mia", "mia", "203.0.113.7")


@pytest.mark.parametrize(
    ("then", "is_ours"),
    [
        ("/accounts/sessions/", True),
        ("https://testserver/accounts/sessions/", True),
        ("http://testserver/accounts/sessions/", False),  # without TLS
        ("https://models.example/", False),  # also allowed, and not the console
        ("//models.example/", False),
        ("https://evil.example/", False),
    ],
)
def test_after_signing_in_only_a_page_of_the_console_follows(settings, then, is_ours):
    settings.ALLOWED_HOSTS = ["testserver", "models.example"]
    mia()
    done = Client(**HERE).post("/login/", {"username": "mia", "password": PASSWORD, "next": then}, secure=True)
    assert (done.status_code, done["Location"]) == (302, then if is_ours else home())


def ask(email: str, **extra):
    return Client(raise_request_exception=False).post(RESET, {"email": email}, **extra)


def test_a_reset_by_mail_works_once_and_keeps_its_token_out_of_the_address():
    mia()
    assert ask("MIA@example.org")["Location"] == f"{RESET}done/"
    path = link_in_the_last_mail()
    client = Client()
    moved = client.get(path)["Location"]
    assert moved.endswith("-set-password/") and path.split("-", 1)[1].strip("/") not in moved
    assert client.post(moved, {"password1": NEW, "password2": NEW}).status_code == 302
    assert User.objects.get().check_password(NEW) and not is_signed_in(client)
    again = Client()
    assert "set-password" not in again.get(path).get("Location", "")
    assert "already been used" in again.get(path).content.decode()
    assert [row.act for row in acts()] == ["user.password_reset_asked", "user.password_reset"]


def test_a_link_leads_to_the_console_whatever_host_was_asked(settings):
    mia()
    settings.ALLOWED_HOSTS = ["*"]
    ask("mia@example.org", SERVER_NAME="evil.example")
    assert "evil.example" not in str(mail.outbox[-1].body)
    assert link_in_the_last_mail().startswith(f"{RESET}key/")
    assert mail.outbox[-1].subject == "Choose a new password for 127.0.0.1"
    assert str(mail.outbox[-1].body).rstrip().endswith("http://127.0.0.1:8081")


def test_known_and_unknown_addresses_are_answered_alike():
    mia()
    answers = [ask(email) for email in ("mia@example.org", "nobody@example.org")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {(302, f"{RESET}done/")}
    assert len(mail.outbox) == 2
    assert "http" not in str(mail.outbox[-1].body).replace("http://127.0.0.1:8081", "")


def test_nobody_is_mailed_without_end(redis_db):
    mia()
    fill(redis_db, RESETS_TO, mailbox("mia@example.org"))
    assert ask("mia+x@example.org").status_code == 429
    fill(redis_db, FORMS_FROM, "127.0.0.1")
    assert ask("olga@example.org").status_code == 429
    assert mail.outbox == []


@pytest.mark.parametrize("email", ["mia@example.org", "nobody@example.org"])
def test_without_a_mail_server_the_page_says_so(settings, email):
    settings.EMAIL_BACKEND = "runtime.mail.NoMail"
    mia()
    answer = ask(email)
    assert answer.status_code == 503 and "could not be sent" in answer.content.decode()


def test_a_reset_confirms_the_address_of_its_mail_and_no_other():
    user = mia()
    for email in ("mia@new.example", "mia@example.org"):
        EmailAddress.objects.create(user=user, email=email, verified=False)
    ask("mia@example.org")
    client = Client()
    client.post(client.get(link_in_the_last_mail())["Location"], {"password1": NEW, "password2": NEW})
    assert [row.email for row in EmailAddress.objects.filter(verified=True)] == ["mia@example.org"]


def test_a_reset_does_not_get_round_the_second_factor():
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    TOTP.activate(mia(), generate_totp_secret())
    ask("mia@example.org")
    client = Client()
    moved = client.get(link_in_the_last_mail())["Location"]
    client.post(moved, {"password1": NEW, "password2": NEW})
    assert sign_in(client, password=NEW)["Location"] == "/accounts/second-factor/authenticate/"
    assert not is_signed_in(client)


def test_every_page_is_served_by_the_strict_policy():
    from tests.console.test_policy import inline_in

    client = Client()
    pages = ["/login/", RESET, f"{RESET}done/", "/accounts/signup/", "/accounts/confirm-email/"]
    for path in pages:
        answer = client.get(path)
        assert answer.status_code == 200 and inline_in(answer.content.decode()) == [], path
    client.force_login(mia())
    sign_in_again = {"password": PASSWORD}
    client.post("/accounts/reauthenticate/", sign_in_again)
    for path in (
        "/accounts/password/change/",
        "/accounts/email/",
        "/accounts/sessions/",
        "/accounts/second-factor/",
        "/accounts/second-factor/totp/activate/",
        "/accounts/second-factor/webauthn/add/",
        "/logout/",
        "/accounts/reauthenticate/",
    ):
        answer = client.get(path)
        assert answer.status_code == 200 and inline_in(answer.content.decode()) == [], path
        assert "unsafe" not in answer["Content-Security-Policy"]
