"""The console in a real Chromium: the story of a key, and what every page looks like to people and to their tools."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, KeySecret, User
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from accounts.services.invitations import invite
from accounts.services.keys import issue_key, revoke_key, rotate_key
from accounts.services.roles import set_role
from quotas.catalogue.applying import apply
from quotas.catalogue.file import read_catalogue_file
from quotas.models import Catalogue, Plan, PlanLimit, UsageHour
from quotas.usage.days import add_up_all, day_start, lock_usage
from store import clients
from tests.conftest import ACTOR
from tests.gate.conftest import question
from tests.gate.test_fronts import environment
from tests.pictures import take_picture
from tests.servers import ROOT, gunicorn

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RENEWS = os.environ.get("AUTHSVC_TEST_RENEW") == "1"  # then the screenshots of the docs are taken again
SCREENSHOTS = ROOT / "docs" / "screenshots"
PASSWORD = "correct horse battery"
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
expect.set_options(timeout=60_000)
SECRET = re.compile(r"ask_[0-9A-Za-z]{16}_[0-9A-Za-z]{44}")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]

CATALOGUE = """
default_plan = "pro"

[models.en_core_web_sm]
title = "English, small"

[models.fr_core_news_md]
title = "French, medium"
cost = 2
example = { path = "/ner", body = { text = "Marie Curie travaillait à Paris." }, answer = { entities = ["Marie Curie"] } }

[models.e5-large]
title = "Multilingual embeddings"
cost = 4

[plans.free]
title = "Free"
models = ["en_core_web_sm"]
max_keys = 5
offered = true
limits = [
  { name = "minute", per = "account", amount = 60, window = "minute", burst = 10 },
  { name = "month", per = "account", amount = 10000, window = "month", unit = "units" },
]

[plans.pro]
title = "Pro"
offered = true
models = ["*"]
limits = [
  { name = "second", per = "account", amount = 50, window = "second", burst = 100 },
  { name = "minute", per = "key", amount = 600, window = "minute", burst = 60 },
  { name = "month", per = "account", amount = 120000, window = "month", unit = "units" },
]
"""


@pytest.fixture(scope="module")
def console(django_db_setup, django_db_blocker, redis_socket, tmp_path_factory) -> Iterator[str]:
    """Where a console with a brand of its own listens, together with its gate."""
    env = environment() | {
        "WEB_CONCURRENCY": "1",
        "AUTHSVC_DRAIN": "0",
        "EMAIL_URL": "console://",
        "AUTHSVC_BRAND_NAME": "Example Models",
        "AUTHSVC_SUPPORT": "help@example.com",
        "GATEWAY_URL": "https://api.example.com",
    }
    with gunicorn(
        "authsvc.asgi:application", tmp_path_factory.mktemp("console"), "-c", "deploy/gunicorn.conf.py", env=env
    ) as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patched, sync_playwright() as playwright:
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright keeps an event loop in this thread
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, console):
    """A browser of one's own, and what it complained about: errors and violations of the policy."""
    contexts = []

    def open_page(*, javascript: bool = True, scheme: str = "light", viewport: Any = DESKTOP) -> tuple[Page, list[str]]:
        context = chromium.new_context(
            base_url=console,
            java_script_enabled=javascript,
            color_scheme=scheme,
            viewport=viewport,
            reduced_motion="reduce",
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page, complaints = context.new_page(), []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page, complaints

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def acme(redis_db, transactional_db, tmp_path) -> Account:
    """An account that ada owns, on a plan with three models."""
    file = tmp_path / "catalogue.toml"
    file.write_text(CATALOGUE)
    Catalogue.objects.create(pk=1, version=int(timezone.now().timestamp() * 1000))
    change_catalogue(lambda: apply(read_catalogue_file(file)), actor=ACTOR)
    models_base(PlanLimit).update(counted_since=timezone.now() - timedelta(days=90))
    ada = User.objects.create_user("ada", "ada@acme.example", first_name="Ada", last_name="Byron")
    User.objects.filter(pk=ada.pk).update(password=PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000))
    account, _ = create_account("Acme Research", Plan.objects.get(name="pro"), actor=ACTOR)
    models_base(Account).update(plan_since=timezone.now() - timedelta(days=90))
    set_role(account, ada, "owner", actor=ACTOR)
    return account


def sign_in(page: Page) -> None:
    page.goto("/")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/console/*/")


def asked(console: str, key: str) -> int:
    """What the gate says to a call with this key; a busy machine is asked again."""
    headers = dict(question(key, x_forwarded_uri="/en_core_web_sm/ner"))
    for _ in range(50):
        status = requests.get(f"{console}/auth/?model=en_core_web_sm", headers=headers, timeout=20).status_code
        if status != 503:
            return status
    return status


@pytest.mark.parametrize(
    ("javascript", "scheme", "viewport"),
    [(True, "light", DESKTOP), (False, "dark", PHONE)],
    ids=["with JavaScript", "without, on a phone"],
)
def test_a_key_from_its_making_to_its_end(console, acme, open_page, javascript, scheme, viewport):
    page, complaints = open_page(javascript=javascript, scheme=scheme, viewport=viewport)
    sign_in(page)
    expect(page.get_by_role("heading", name="Welcome to Acme Research")).to_be_visible()
    page.get_by_role("link", name="Choose models, expiry and limits instead").click()
    page.get_by_label("Name").fill("laptop")
    page.get_by_text("Only some models").click()
    page.get_by_label("English, small").check()
    page.get_by_text("90 days").click()
    page.get_by_role("button", name="Create key").click()
    secret = page.locator("#secret").inner_text()
    assert SECRET.fullmatch(secret) and page.url.endswith("/keys/new/")
    assert f"Bearer {secret}" in page.locator("#call1").inner_text()
    page.get_by_text("Python", exact=True).click()
    expect(page.locator("#call2")).to_be_visible()
    assert page.get_by_role("button", name="Copy").count() == (2 if javascript else 0)
    if javascript:
        page.locator("[data-copy=secret]").click()
    page.get_by_role("link", name="I have stored it").click()

    assert secret not in page.content()
    assert asked(console, secret) == 200
    call_command("keep_ledger", "--once")
    page.reload()
    expect(page.get_by_text("1 allowed")).to_be_visible()
    expect(page.get_by_text("119,999 left")).to_be_visible()

    page.get_by_label("The old secret works for").select_option("1 day")
    page.get_by_role("button", name="Rotate").click()
    new = page.locator("#secret").inner_text()
    if javascript:
        page.locator("[data-copy=secret]").click()
    page.get_by_role("link", name="I have stored it").click()
    assert asked(console, secret) == asked(console, new) == 200
    expect(page.get_by_role("heading", name="Rotating: the old secret still works")).to_be_visible()
    page.get_by_role("button", name="End the old secret now").click()
    assert asked(console, secret) == 401
    assert asked(console, new) == 200

    revoke = page.get_by_role("button", name="Revoke")
    if javascript:
        expect(revoke).to_be_disabled()
    page.get_by_label("Type laptop to confirm").fill("laptop")
    revoke.click()
    expect(page.get_by_text("Revoked", exact=True)).to_be_visible()
    assert asked(console, new) == 401
    assert not complaints


def test_leaving_the_secret_without_a_copy_is_asked_about(acme, open_page):
    page, _ = open_page()
    sign_in(page)
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Create key").click()
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)
    page.locator("h1").click()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Keys").click()
    page.wait_for_url("**/keys/")
    assert asked == ["beforeunload"]


def test_the_table_follows_what_is_typed(acme, open_page):
    for name in ("laptop", "batch-eu", "batch-us"):
        issue_key(acme, name=name, actor=ACTOR)
    page, complaints = open_page()
    sign_in(page)
    page.goto(f"/console/{acme.public_id}/keys/")
    page.get_by_label("Search keys").fill("batch")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.wait_for_url("**q=batch**")
    page.get_by_role("link", name="Name").click()
    expect(page.locator("tbody tr").first).to_contain_text("batch-eu")
    page.go_back()
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    assert not complaints


def test_light_and_dark_are_chosen_without_leaving_the_page(acme, open_page):
    page, complaints = open_page()
    sign_in(page)
    address = page.url
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url == address
    page.wait_for_function("fetch('/login/', {redirect: 'manual'}).then(() => true)")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert not complaints


def test_the_menu_of_a_phone_opens_and_closes_by_keyboard(acme, open_page):
    page, _ = open_page(viewport=PHONE)
    sign_in(page)
    menu = page.get_by_role("navigation", name="Main")
    expect(menu).not_to_be_visible()
    page.get_by_role("button", name="Menu", exact=True).press("Enter")
    expect(menu.get_by_role("link", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).not_to_be_visible()


# How pages look


@pytest.fixture
def busy(acme: Account) -> Account:
    """A month of believable usage, and keys in every state."""
    ada = User.objects.get(username="ada")
    actor, now = Actor("ada", "203.0.113.7", ada), timezone.now()
    for name, role in (("grace", "admin"), ("alan", "member"), ("vera", "viewer")):
        set_role(acme, User.objects.create_user(name, f"{name}@acme.example"), role, actor=ACTOR)

    def make(name: str, used_ago: timedelta, **wanted: Any) -> ApiKey:
        key = issue_key(acme, name=name, actor=actor, **wanted).key
        models_base(KeySecret).filter(key=key).update(last_used_at=now - used_ago)
        return key

    revoked = make("intern-2025", timedelta(days=84))
    old = make("old-notebook", timedelta(days=94))
    models_base(ApiKey).filter(pk=old.pk).update(created_at=now - timedelta(days=120))
    laptop = make("laptop", timedelta(minutes=2))
    ci = make(
        "ci-staging",
        timedelta(hours=5),
        models=["en_core_web_sm"],
        expires_at=now + timedelta(days=6, hours=3),
        networks=["198.51.100.0/24"],
        methods=["POST"],
    )
    batch = make(
        "batch-eu", timedelta(days=2), models=["fr_core_news_md"], metadata={"team": "search", "cost centre": "4711"}
    )
    web = make("website-search", timedelta(seconds=20))
    rotate_key(batch, grace=timedelta(days=3), actor=actor)
    revoke_key(revoked, actor=actor)
    invite(acme, email="mary@acme.example", role="member", actor=actor)
    _fill_the_ledger(
        acme,
        [
            (web, "en_core_web_sm", 44, 1),
            (web, "fr_core_news_md", 24, 2),
            (laptop, "e5-large", 14, 4),
            (batch, "fr_core_news_md", 9, 2),
            (ci, "en_core_web_sm", 8, 1),
        ],
    )
    clients.sync_client().flushdb()  # counters come from the ledger
    return acme


def _fill_the_ledger(account: Account, calls: list[tuple[ApiKey, str, int, int]]) -> None:
    dice, now = random.Random(7), timezone.now().replace(minute=0, second=0, microsecond=0)
    rows = []
    for hours in range(24 * 30):
        hour = now - timedelta(hours=hours)
        share = (0.4 if hour.weekday() >= 5 else 1) * (1.5 if 7 <= hour.hour <= 18 else 0.5) * (1.15 - hours / 2600)
        for key, model, usual, cost in calls:
            count = int(usual * share * dice.uniform(0.7, 1.3))
            refused = dice.choice([0] * 20 + [1, 2, 3])
            rows.append(
                UsageHour(
                    account=account.public_id,
                    key=key.public_id,
                    model=model,
                    hour=hour,
                    birth=1,
                    allowed=count,
                    refused=refused,
                    units=count * cost,
                )
            )
    models_base(UsageHour).bulk_create(rows)
    for day in {day_start(row.hour) for row in rows}:
        with transaction.atomic():
            lock_usage()
            add_up_all(day)


def addresses(account: Account) -> dict[str, str]:
    key = ApiKey.objects.get(name="batch-eu").public_id
    member = account.memberships.get(user__username="alan").public_id
    start = f"/console/{account.public_id}"
    return {
        "overview": f"{start}/",
        "keys": f"{start}/keys/",
        "new-key": f"{start}/keys/new/",
        "key": f"{start}/keys/{key}/",
        "change-key": f"{start}/keys/{key}/change/",
        "usage": f"{start}/usage/?by=key",
        "models": f"{start}/models/",
        "team": f"{start}/team/",
        "member": f"{start}/team/{member}/",
        "account": f"{start}/account/",
        "audit": f"{start}/audit/",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_can_be_read_and_used(busy, open_page, scheme, viewport):
    page, complaints = open_page(scheme=scheme, viewport=viewport)
    page.goto("/login/")
    faults = {"sign-in": page.evaluate(FAULTS)}
    sign_in(page)
    for name, address in addresses(busy).items():
        page.goto(address)
        for details in page.locator("main details").all():
            details.evaluate("one => { one.open = true; }")
        faults[name] = page.evaluate(FAULTS)
    assert {name: found for name, found in faults.items() if found} == {}
    assert not complaints


# Text whose contrast is below WCAG's AA, what has no name for a screen reader, what is too small to be hit, ids that
# are there twice, headings that skip a level, and pages that are wider than the window.
FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")


@pytest.mark.skipif(not RENEWS, reason="screenshots are taken with AUTHSVC_TEST_RENEW=1")
def test_screenshots_of_the_docs(busy, open_page):
    """The others are of tests/stack/test_journey.py."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for kind, scheme, viewport, names in (
        ("", "light", DESKTOP, ("keys", "usage", "models", "team")),
        ("-phone", "light", PHONE, ("overview", "keys")),
    ):
        page, _ = open_page(scheme=scheme, viewport=viewport)
        sign_in(page)
        for name in names:
            page.goto(addresses(busy)[name])
            take_picture(page, SCREENSHOTS / f"{name}{kind}.png")
