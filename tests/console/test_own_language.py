"""The language that a person chose holds for their pages on every device, and for the mails they get."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import Error as DatabaseError
from django.test import Client

from accounts.models import AuditEvent, User
from console import languages
from store.throttles import CHOICES
from tests.console.conftest import person
from tests.console.signing.people import HERE, PASSWORD, mia, sign_in
from tests.console.test_languages import spoken

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/accounts/language/"


def choose(client: Client, language: str) -> Client:
    client.post("/console/language/", {"language": language, "back": PAGE})
    return client


def again(client: Client) -> Client:
    """The same person on a different device."""
    other = Client()
    other.force_login(client.user)  # type: ignore[attr-defined]
    return other


def stored(name: str = "ada") -> str:
    return User.objects.get(username=name).language


def ticked(client: Client) -> str:
    (value,) = re.findall(r'type="radio" name="language" value="(\w*)" checked', client.get(PAGE).content.decode())
    return str(value)


def test_a_choice_holds_on_every_device_and_outweighs_browser_and_cookie(account, owner):
    choose(owner, "fr")
    other = again(owner)
    other.cookies["language"] = "en"
    assert spoken(other, PAGE, **{"Accept-Language": "en"}) == "fr"
    assert spoken(other, f"/console/{account.public_id}/", **{"Accept-Language": "en"}) == "fr"
    assert (stored(), ticked(other)) == ("fr", "fr")


def test_automatic_follows_each_browser_again(owner):
    assert ticked(owner) == ""
    choose(choose(owner, "fr"), "")
    assert (stored(), ticked(owner)) == ("", "")
    assert [spoken(owner, PAGE, **{"Accept-Language": asked}) for asked in ("fr", "en")] == ["fr", "en"]


def test_a_choice_is_a_persons_own_and_ends_with_the_session(account, owner):
    choose(owner, "fr")
    assert spoken(person("bob", account), PAGE) == "en"
    other = again(owner)
    other.logout()
    assert spoken(other) == "en"


def test_a_stranger_chooses_for_the_browser_alone(client):
    User.objects.create_user("ada")
    choose(client, "fr")
    assert (stored(), AuditEvent.objects.count()) == ("", 0)
    assert client.get(PAGE).status_code == 302


def test_a_choice_is_in_the_audit_log_once(owner):
    for language in ("fr", "fr", "klingon"):
        choose(owner, language)
    rows = AuditEvent.objects.filter(act="user.language_change").order_by("pk")
    assert list(rows.values_list("actor", "subject", "before", "after")) == [
        ("ada", "ada", {"language": ""}, {"language": "fr"}),
        ("ada", "ada", {"language": "fr"}, {"language": ""}),
    ]


def test_changing_it_all_the_time_fills_no_audit_log(owner, monkeypatch):
    monkeypatch.setattr("console.own_language.CHOICES", replace(CHOICES, calls=3, seconds=86_400))
    for language in ("fr", "en", "fr", "en"):
        choose(owner, language)
    assert AuditEvent.objects.filter(act="user.language_change").count() == 3 and stored() == "fr"
    assert "Vous avez changé de langue trop souvent." in owner.get(PAGE).content.decode()


def test_a_language_that_is_no_longer_offered_is_no_choice(owner, settings):
    choose(owner, "fr")
    settings.LANGUAGES = languages.offered(["en"])
    assert spoken(owner, PAGE, **{"Accept-Language": "fr"}) == "en"


def test_programs_are_answered_in_english_whatever_somebody_chose(account, owner):
    choose(owner, "fr")
    answer = owner.get(f"/api/v1/accounts/{account.public_id}/keys/nothing/")
    assert answer.json()["title"] == "Not Found" and "Content-Language" not in answer


def test_shared_files_do_not_depend_on_who_asks(owner):
    (address,) = re.findall(r'"(/console/brand/\w+\.css)"', owner.get(PAGE).content.decode())
    assert "Cookie" not in owner.get(address).get("Vary", "")


def test_a_page_that_needs_no_database_appears_without_it(owner, monkeypatch):
    choose(owner, "fr")

    def gone(*_):
        raise DatabaseError

    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", gone)
    assert "language" in owner.cookies and owner.get("/errors/invalid_token")["Content-Language"] == "fr"


@pytest.mark.parametrize(
    ("chosen", "signed_in_in", "asked_in", "written_in"),
    [
        ("fr", "en", "en", "fr"),
        ("en", "fr", "fr", "en"),
        ("", "fr", "en", "fr"),
        ("", "", "fr", "fr"),
        ("de", "", "fr", "fr"),
    ],
)
def test_a_mail_is_in_its_readers_language_whoever_asked_for_it(chosen, signed_in_in, asked_in, written_in):
    mia(language=chosen, last_language=signed_in_in)
    Client(**HERE).post(
        "/accounts/password/reset/", {"email": "mia@example.org"}, headers={"Accept-Language": asked_in}
    )
    words = {"en": "Choose a new password", "fr": "Choisissez un nouveau mot de passe"}
    assert words[written_in] in mail.outbox[-1].subject


def test_who_signs_up_twice_is_told_in_their_own_language(settings):
    settings.SIGN_UP = "open"
    EmailAddress.objects.create(user=mia(language="fr"), email="mia@example.org", verified=True, primary=True)
    form = {"email": "mia@example.org", "password1": PASSWORD, "password2": PASSWORD}
    Client(**HERE).post("/accounts/signup/", form, headers={"Accept-Language": "en"})
    assert "déjà" in mail.outbox[-1].subject


def test_signing_in_notes_the_language_for_mails(client):
    mia()
    sign_in(client, headers={"Accept-Language": "fr"}, **HERE)
    assert User.objects.get().last_language == "fr"
