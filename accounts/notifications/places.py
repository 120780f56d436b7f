"""Where people sign in from: a network and a family of browsers, remembered to notice a new one."""

from __future__ import annotations

import re
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import Notification, SignInPlace, User
from accounts.notifications.recipients import Kind, is_on
from runtime.networks import surroundings

REMEMBERED = timedelta(days=90)
MOST_PLACES = 50  # of one person: the longest unseen are forgotten first
LONGEST_AGENT = 512
OTHER = "other"

# The first that matches: browsers built on Chromium also call themselves Chrome, and all of them Safari.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdgA?(iOS)?/")),
    ("Opera", re.compile(r"\bOPR/|\bOpera\b")),
    ("Firefox", re.compile(r"\b(Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(Chrome|CriOS|Chromium)/")),
    ("Safari", re.compile(r"\bSafari/")),
)


def browser_of(agent: str) -> str:
    """The family of a browser, by its User-Agent header."""
    return next((name for name, pattern in _BROWSERS if pattern.search(agent[:LONGEST_AGENT])), OTHER)


def note_sign_in(user: User, address: str, agent: str) -> None:
    """Remember the place, and tell the person of one that they were not seen at for 90 days.

    Their first sign-in of all is no news: there is nothing to compare it with.
    """
    now, network, browser = timezone.now(), surroundings(address), browser_of(agent)
    with transaction.atomic():
        User.objects.select_for_update().filter(pk=user.pk).first()  # so that of two at once one is the first
        places = SignInPlace.objects.filter(user=user)
        is_first = not places.exists()
        here = places.filter(network=network, browser=browser)
        is_known = here.filter(last_seen_at__gte=now - REMEMBERED).exists()
        if not here.update(last_seen_at=now):
            SignInPlace.objects.create(user=user, network=network, browser=browser, last_seen_at=now)
        kept = list(places.values_list("pk", flat=True)[:MOST_PLACES])
        places.exclude(pk__in=kept).delete()
        if is_on() and not is_first and not is_known:
            details = {"address": address, "browser": browser}
            subject = f"{browser} {network}"
            Notification.objects.create(user=user, kind=Kind.NEW_PLACE, subject=subject, moment=now, details=details)
