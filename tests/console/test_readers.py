"""What browsers in other languages and other time zones show: words, numbers, dates and times as their reader writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect

from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey
from tests.console.test_accessibility import after_signing_in
from tests.console.test_browser import PASSWORD, acme, addresses, busy, chromium, console, pytestmark  # noqa: F401

MADE_AT = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
MONTHS = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
]
GATEWAY = "https://api.example.com"

Open = Callable[..., Page]


@pytest.fixture
def open_as(chromium: Browser, console: str) -> Iterator[Open]:  # noqa: F811
    """Sign ada in with a browser of this language and zone."""
    contexts = []

    def open_as(*, locale: str = "en-GB", zone: str = "UTC", javascript: bool = True) -> Page:
        context = chromium.new_context(
            base_url=console, locale=locale, timezone_id=zone, java_script_enabled=javascript, reduced_motion="reduce"
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.goto("/login/")
        page.locator("[name=username]").fill("ada")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/console/*/")
        return page

    yield open_as
    for context in contexts:
        context.close()


@pytest.fixture
def dated(busy: Account) -> ApiKey:  # noqa: F811
    """A key that was made at a moment whose day is another one in New York."""
    key = ApiKey.objects.get(name="batch-eu")
    models_base(ApiKey).filter(pk=key.pk).update(created_at=MADE_AT)
    return key


def times(page: Page) -> list[tuple[str, str]]:
    """The words and the tooltip of every time on the page."""
    read = "all => all.map((one) => [one.textContent, one.title])"
    return [(words, title) for words, title in page.locator("main time").evaluate_all(read)]


@pytest.mark.parametrize(
    ("zone", "written"),
    [("America/New_York", "28 Feb 2026, 22:30"), ("Asia/Kolkata", "1 Mar 2026, 09:00"), ("UTC", "1 Mar 2026, 03:30")],
)
def test_times_are_in_the_readers_zone_with_utc_on_hover(dated, busy, open_as, zone, written):  # noqa: F811
    page = open_as(zone=zone)
    page.goto(addresses(busy)["key"])
    assert (written, "1 Mar 2026, 03:30 UTC") in times(page)
    assert all(title.endswith(" UTC") for _, title in times(page))
    assert not page.locator("noscript").last.is_visible()


def test_what_says_how_long_ago_has_the_readers_own_time_on_hover_too(busy, open_as):  # noqa: F811
    used = timezone.now() - timedelta(hours=5)
    page = open_as(zone="Asia/Kolkata")
    page.goto(addresses(busy)["keys"])
    own, utc = next(title.split("\n") for words, title in times(page) if words == "5 hours ago")
    there = datetime.strptime(own, "%d %b %Y, %H:%M").replace(tzinfo=UTC) - timedelta(hours=5, minutes=30)
    assert there.strftime("%H:%M") in utc and abs(there - used) < timedelta(minutes=30)


def test_no_page_leaves_a_time_in_utc(busy, open_as):  # noqa: F811
    page = open_as(zone="Asia/Kolkata")
    left = {}
    for name, address in after_signing_in(busy).items():
        page.goto(address)
        left[name] = re.findall(r".*\d\d:\d\d UTC.*", page.locator("body").inner_text())
    assert {name: found for name, found in left.items() if found} == {}


def test_without_javascript_times_are_utc_and_say_so(dated, busy, open_as):  # noqa: F811
    page = open_as(zone="Asia/Kolkata", javascript=False)
    page.goto(addresses(busy)["key"])
    assert ("1 Mar 2026, 03:30 UTC", "1 Mar 2026, 03:30 UTC") in times(page)
    said = page.locator("noscript p").last  # Playwright's search for text leaves noscript out
    expect(said).to_be_visible()
    assert said.inner_text() == "Times are in UTC, because JavaScript is switched off."


def test_a_french_browser_gets_french_words_numbers_and_dates(dated, busy, open_as):  # noqa: F811
    page = open_as(locale="fr-FR", zone="Europe/Paris")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.get_by_role("heading", name="Vue d’ensemble")).to_be_visible()
    now = timezone.now()
    year, month = divmod(now.year * 12 + now.month, 12)
    expect(page.locator(".figures")).to_contain_text(f"1 {MONTHS[month]} {year}")
    assert re.search(r"\d\xa0\d{3}", page.locator(".figures").inner_text())
    day, short = page.locator(".chart .days li").last.inner_text().split()
    assert day == str(now.day) and MONTHS[now.month - 1].startswith(short.rstrip("."))  # nov., and not Nov
    page.goto(addresses(busy)["key"])
    assert ("1 mars 2026 à 04:30", "1 mars 2026 à 03:30 UTC") in times(page)


def answer(route: Route) -> None:
    limits: dict[str, Any] = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Headers": "*",
        "Access-Control-Expose-Headers": "*",
        "RateLimit": '"month";r=98765;t=414720',
        "RateLimit-Policy": '"month";q=120000;w=2592000',
    }
    route.fulfill(status=200, headers=limits, content_type="application/json", body=json.dumps("x" * 1278))


@pytest.mark.parametrize(
    ("locale", "told"),
    [
        ("fr-FR", ["1,3 ko reçus", "98 765 sur 120 000", "de nouveau entière dans 4,8 jours"]),
        ("en-US", ["1.3 kB received", "98,765 of 120,000 left", "whole again in 4.8 days"]),
    ],
)
def test_try_it_writes_numbers_as_the_page_does(busy, open_as, locale, told):  # noqa: F811
    page = open_as(locale=locale)
    page.route(f"{GATEWAY}/**", answer)
    page.goto(after_signing_in(busy)["try"])
    page.locator("#try-key").fill("any")
    page.locator("#try-send").click()
    expect(page.locator("#try-status")).to_have_text(re.compile("^200"))
    said = re.sub(r"[\xa0\u202f]", " ", page.locator("#try-facts").inner_text())
    assert [words for words in told if words not in said] == []
