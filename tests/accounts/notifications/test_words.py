"""Each mail in its reader's language, with numbers and moments as that language writes them, and moments in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone
from django.utils.translation import override

from accounts.models import Account, Notification
from accounts.notifications.words import MOST_LISTED, Mail, mail_of
from accounts.services.credentials import make_management_key
from accounts.services.keys import issue_key
from tests.accounts.notifications.conftest import somebody
from tests.accounts.notifications.test_finding import key_of
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

Kind = Notification.Kind
MOMENT = datetime(2030, 12, 1, 9, 30, tzinfo=UTC)
_QUOTA = {"window": "month", "unit": "units", "amount": 1_234_567, "renews": int(MOMENT.timestamp())}

# What each kind has to tell, apart from its account and its moment.
OCCASIONS: dict[str, dict[str, Any]] = {
    Kind.EXPIRES_IN_A_WEEK: {},
    Kind.EXPIRES_TOMORROW: {},
    Kind.UNUSED: {},
    Kind.QUOTA_NEARLY_USED: {**_QUOTA, "model": "*"},
    Kind.QUOTA_USED_UP: {**_QUOTA, "model": "sm", "unit": "requests", "window": "day"},
    Kind.MANAGEMENT_KEY: {"name": "ci", "by": "ada", "scopes": ["keys:read", "keys:write"]},
    Kind.NEW_PLACE: {"browser": "other", "address": ""},
}


def mail_about(account: Account, kind: str, several: int = 1) -> Mail:
    about_keys = kind in (Kind.EXPIRES_IN_A_WEEK, Kind.EXPIRES_TOMORROW, Kind.UNUSED)
    key = issue_key(account, name="first", actor=ACTOR).key.public_id if about_keys else ""
    row = Notification(kind=kind, subject=key, moment=MOMENT, details=OCCASIONS[kind])
    return mail_of(kind, None if kind == Kind.NEW_PLACE else account, [row] * several)


def test_every_kind_of_mail_is_here():
    assert set(OCCASIONS) == set(Kind.values)


@pytest.mark.parametrize("kind", OCCASIONS)
def test_moments_are_as_the_language_writes_them_and_in_utc(kind, account):
    for language, written in (("en", "1 Dec 2030, 09:30 UTC"), ("fr", "1 déc. 2030 à 09:30 UTC")):
        with override(language):
            text = mail_about(account, kind).text
        assert written in text and not re.search(r"\d{4}-\d\d-\d\d", text)


@pytest.mark.parametrize("more", [1, 2])
def test_of_many_keys_the_first_are_listed_and_the_others_counted(account, more):
    text = mail_about(account, Kind.UNUSED, MOST_LISTED + more).text
    assert text.count('"first", unused since') == MOST_LISTED and f"and {more} more: http" in text


def test_numbers_are_as_the_language_writes_them(account):
    for language, written in (("en", "1,234,567"), ("fr", "1\u202f234\u202f567")):
        with override(language):
            assert written in mail_about(account, Kind.QUOTA_NEARLY_USED).text.replace("\xa0", "\u202f")


def test_of_one_occasion_everybody_reads_in_their_own_language(account, postman, settings):
    chosen = {"ada": "fr", "bob": "en", "cleo": "", "dan": ""}
    for name, language in chosen.items():
        user = somebody(name, account)
        user.language, user.last_language = language, "fr" if name == "cleo" else ""
        user.save()
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    key_of(account, left=timedelta(days=3))
    assert postman.go() == 12
    told = {(one.to[0].partition("@")[0], one.subject) for one in mail.outbox}
    french = {"Une nouvelle clé de gestion a été créée", "Une clé d’API expire dans les 7\xa0jours"}
    english = {"A new management key was created", "An API key expires within 7 days"}
    for name in chosen:
        assert (french if name in ("ada", "cleo") else english) <= {subject for who, subject in told if who == name}


def test_without_any_choice_a_mail_is_in_the_operators_first_language(account, postman, settings):
    settings.LANGUAGES = [("fr", "Français"), ("en", "English")]
    user = somebody("ada", account)
    Notification.objects.create(
        user=user,
        kind=Kind.NEW_PLACE,
        subject="x",
        moment=timezone.now(),
        details=OCCASIONS[Kind.NEW_PLACE],
    )
    assert postman.go() == 1 and mail.outbox[0].subject.startswith("Une connexion depuis un nouvel endroit")
