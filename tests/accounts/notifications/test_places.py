"""A sign-in from a place where a person was not seen for 90 days."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Notification, SignInPlace
from accounts.notifications.places import MOST_PLACES, browser_of, note_sign_in
from tests.accounts.notifications.conftest import somebody

pytestmark = pytest.mark.django_db

MOZILLA = "Mozilla/5.0 (X11; Linux x86_64)"
CHROME = f"{MOZILLA} AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
AGENTS = {
    "Firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Chrome": CHROME,
    "Edge": f"{CHROME} Edg/141.0.0.0",
    "Opera": f"{CHROME} OPR/122.0.0.0",
    "Safari": "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
    "other": "curl/8.5.0",
}


@pytest.mark.parametrize("name", AGENTS)
def test_a_browser_is_known_by_its_family(name):
    assert browser_of(AGENTS[name]) == name


@pytest.fixture
def ada():
    return somebody("ada")


def new_places() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("subject", flat=True))


def test_the_first_sign_in_of_all_is_not_new(ada):
    note_sign_in(ada, "203.0.113.7", CHROME)
    assert new_places() == []


@pytest.mark.parametrize(
    ("first", "second", "new"),
    [
        (("203.0.113.7", CHROME), ("203.0.113.250", CHROME), []),
        (("203.0.113.7", CHROME), ("::ffff:203.0.113.9", CHROME), []),
        (("203.0.113.7", CHROME), ("203.0.114.7", CHROME), ["Chrome 203.0.114.0/24"]),
        (("203.0.113.7", CHROME), ("203.0.113.7", AGENTS["Firefox"]), ["Firefox 203.0.113.0/24"]),
        (("2001:db8::1", CHROME), ("2001:db8::ffff:1", CHROME), []),
        (("2001:db8::1", CHROME), ("2001:db8:0:1::1", CHROME), ["Chrome 2001:db8:0:1::/64"]),
        (("203.0.113.7", CHROME), ("", ""), ["other "]),
    ],
)
def test_a_place_is_a_network_and_a_browser(ada, first, second, new):
    note_sign_in(ada, *first)
    for _ in range(2):
        note_sign_in(ada, *second)
    assert new_places() == new


def test_a_place_is_new_again_after_90_days(ada):
    note_sign_in(ada, "203.0.113.7", CHROME)
    SignInPlace.objects.update(last_seen_at=timezone.now() - timedelta(days=91))
    note_sign_in(ada, "203.0.113.7", CHROME)
    assert len(new_places()) == 1 and SignInPlace.objects.count() == 1


def test_a_place_that_is_used_stays_known(ada):
    note_sign_in(ada, "203.0.113.7", CHROME)
    began = timezone.now()
    SignInPlace.objects.update(last_seen_at=began - timedelta(days=89))
    note_sign_in(ada, "203.0.113.7", CHROME)
    assert new_places() == [] and SignInPlace.objects.get().last_seen_at >= began


def test_without_notifications_places_are_remembered_and_nobody_is_told(ada, settings):
    settings.NOTIFICATIONS = False
    for address in ("203.0.113.7", "198.51.100.7"):
        note_sign_in(ada, address, CHROME)
    assert new_places() == [] and SignInPlace.objects.count() == 2


def test_few_places_are_remembered_and_the_latest_are(ada):
    for number in range(MOST_PLACES + 5):
        note_sign_in(ada, f"10.0.{number}.1", CHROME)
    kept = set(SignInPlace.objects.values_list("network", flat=True))
    assert len(kept) == MOST_PLACES and f"10.0.{MOST_PLACES + 4}.0/24" in kept and "10.0.0.0/24" not in kept


def test_places_are_a_persons_own(ada):
    note_sign_in(ada, "203.0.113.7", CHROME)
    note_sign_in(somebody("bob"), "198.51.100.7", CHROME)
    assert new_places() == []
