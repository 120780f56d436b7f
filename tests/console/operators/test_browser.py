"""The admin in a real Chromium: how many clicks things take, and that no page breaks the policy or logs an error."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest
from django.contrib import admin
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.models import Account, ApiKey, User
from accounts.services.keys import issue_key
from quotas.models import Plan
from tests.conftest import ACTOR
from tests.console.operators.conftest import count_calls
from tests.console.test_browser import (  # noqa: F401  fixtures
    DESKTOP,
    FAULTS,
    PASSWORD,
    PHONE,
    RENEWS,
    SCREENSHOTS,
    acme,
    asked,
    busy,
    chromium,
    console,
    open_page,
    pytestmark,
)
from tests.pictures import take_picture


@pytest.fixture
def olga(busy: Account) -> User:  # noqa: F811
    """An operator, in a service where keys were refused yesterday."""
    user = User.objects.create_superuser("olga", "olga@example.org", first_name="Olga")
    User.objects.filter(pk=user.pk).update(password=PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000))
    key = issue_key(busy, name="nightly", actor=ACTOR, expires_at=timezone.now() + timedelta(days=5)).key
    count_calls(key, "en_core_web_sm", days_ago=1, allowed=10, refused=900)
    return user


def enter(page: Page) -> None:
    page.goto("/login/")
    page.get_by_label("User name").fill("olga")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/admin/")


class Clicks:
    """Clicks, counted."""

    def __init__(self, page: Page) -> None:
        self.page, self.count = page, 0

    def __call__(self, role: Literal["link", "button"], name: str) -> None:
        self.count += 1
        self.page.get_by_role(role, name=name, exact=True).first.click()


@pytest.mark.parametrize("javascript", [True, False])
def test_who_was_refused_most_yesterday_and_why_takes_two_clicks_at_most(olga, open_page, javascript):  # noqa: F811
    page, complaints = open_page(javascript=javascript)
    enter(page)
    click = Clicks(page)
    click("link", "Who, and why")
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("Acme Research")
    expect(first).to_contain_text("nightly")
    expect(first).to_contain_text("Over a limit: 600 calls a minute, bursts of 60, for each key")
    expect(first).to_contain_text("900")
    assert click.count <= 2 and not complaints


@pytest.mark.parametrize("javascript", [True, False])
def test_a_pasted_key_is_revoked_in_three_clicks_at_most(console, olga, open_page, javascript):  # noqa: F811
    secret = issue_key(Account.objects.get(), name="leaked", actor=ACTOR).text
    assert asked(console, secret) == 200
    page, complaints = open_page(javascript=javascript)
    enter(page)
    click = Clicks(page)
    page.get_by_label("A key, its id, or a line of a log").fill(f"Authorization: Bearer {secret}")
    click("button", "Look it up")
    expect(page.get_by_text("This secret works")).to_be_visible()
    assert secret not in page.url and secret not in page.content()
    click("button", "Revoke it")
    expect(page.get_by_text("Done: Revoke")).to_be_visible()
    assert click.count <= 3 and asked(console, secret) == 401 and not complaints


def test_a_limit_is_put_in_words_while_it_is_typed(olga, open_page):  # noqa: F811
    page, complaints = open_page()
    enter(page)
    page.goto(reverse("admin:quotas_plan_change", args=[Plan.objects.get(name="pro").pk]))
    expect(page.get_by_text("600 calls a minute, bursts of 60, for each key")).to_be_visible()
    row = page.locator("tr.form-row").filter(has_text="600 calls a minute")
    row.locator("[name$=-amount]").fill("70")
    expect(page.get_by_text("70 calls a minute, bursts of 60, for each key")).to_be_visible()
    page.get_by_text("Add another limit").click()
    new = page.locator("tr.form-row:not(.has_original, .empty-form)")
    new.locator("[name$=-amount]").fill("5")
    new.locator("[name$=-scope]").select_option("account")
    new.locator("[name$=-window]").select_option("hour")
    expect(new.get_by_text("5 calls an hour, shared by all keys")).to_be_visible()
    assert not complaints


def pages() -> list[str]:
    """Every page of ours, and list, new and change page of every table."""
    found = [reverse(f"admin:{name}") for name in ("index", "usage", "refused", "which_key", "explain", "tables")]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found += [reverse(f"{name}_changelist"), reverse(f"{name}_add")]
        if row := model._default_manager.first():
            found += [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history")]
    account, key = Account.objects.get(), ApiKey.objects.get(name="nightly")
    found += [reverse(f"admin:accounts_account_{page}", args=[account.pk]) for page in ("plan", "suspend", "close")]
    found += [reverse(f"admin:accounts_apikey_{page}", args=[key.pk]) for page in ("rotate", "revoke")]
    return [*found, reverse("admin:password_change")]


def test_no_page_breaks_the_policy_or_logs_an_error(olga, open_page):  # noqa: F811
    page, complaints = open_page()
    enter(page)
    faults = {}
    for address in pages():
        if page.request.get(address).status == 403:  # its page is plain, and the browser asks for an icon
            continue
        answer = page.goto(address)
        assert answer is not None and answer.status == 200, address
        if complaints:
            faults[address] = list(complaints)
            complaints.clear()
    assert faults == {}


def shown(account: Account) -> dict[str, str]:
    return {
        "admin": "/admin/",
        "admin-refused": "/admin/refused/?period=week",
        "admin-usage": "/admin/usage/",
        "admin-which-key": "/admin/which-key/",
        "admin-account": reverse("admin:accounts_account_change", args=[account.pk]),
        "admin-change-plan": reverse("admin:accounts_account_plan", args=[account.pk]),
        "admin-plan": reverse("admin:quotas_plan_change", args=[account.plan.pk]),
        "admin-accounts": reverse("admin:accounts_account_changelist"),
        "admin-keys": reverse("admin:accounts_apikey_changelist"),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_of_ours_can_be_read_and_used(olga, busy, open_page, scheme, viewport):  # noqa: F811
    page, complaints = open_page(scheme=scheme, viewport=viewport)
    enter(page)
    faults = {}
    for name in ("admin", "admin-refused", "admin-usage", "admin-which-key", "admin-change-plan"):
        page.goto(shown(busy)[name])
        faults[name] = page.evaluate(FAULTS)
    assert {name: found for name, found in faults.items() if found} == {}
    assert not complaints


@pytest.mark.skipif(not RENEWS, reason="screenshots are taken with AUTHSVC_TEST_RENEW=1")
def test_screenshots_of_the_admin(olga, busy, open_page):  # noqa: F811
    page, _ = open_page()
    enter(page)
    for name in ("admin", "admin-account", "admin-plan", "admin-refused", "admin-change-plan"):
        page.goto(shown(busy)[name])
        take_picture(page, SCREENSHOTS / f"{name}.png", full_page=name in ("admin", "admin-plan"))
