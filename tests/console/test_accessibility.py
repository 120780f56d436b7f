"""What axe-core, the browser and the policy have to say about every page: nothing, in both schemes and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.core import mail
from django.db import connections
from django.test import Client
from playwright.sync_api import Page, Route

from accounts.models import Account
from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from tests.conftest import ACTOR
from tests.console.test_browser import (  # noqa: F401
    DESKTOP,
    FAULTS,
    PHONE,
    RENEWS,
    acme,
    addresses,
    busy,
    chromium,
    console,
    open_page,
    pytestmark,
    sign_in,
)
from tests.servers import ROOT

SHEETS = ROOT / "docs" / "screenshots" / "sheets"  # not in the repository: for a look when a page is changed


def before_signing_in(account: Account) -> dict[str, str]:
    return {
        "sign-in": "/login/",
        "reset-password": "/accounts/password/reset/",
        "sign-up": "/accounts/signup/",
        "invitation-gone": "/invitations/none/",
        "first-operator-gone": "/first-operator/none/",
        "error-of-the-gate": "/errors/quota_exceeded",
        "error-of-the-api": "/errors/invalid",
    }


def after_signing_in(account: Account) -> dict[str, str]:
    start = f"/console/{account.public_id}"
    return {
        **addresses(account),
        "try": f"{start}/try/?model=fr_core_news_md",
        "new-management-key": f"{start}/team/management-keys/new/",
        "nothing-found": f"{start}/keys/?q=nothing-is-called-so",
        "no-entry": f"{start}/audit/?q=nobody-did-so",
        "password": "/accounts/password/change/",
        "second-factor": "/accounts/second-factor/",
        "authenticator-app": "/accounts/second-factor/totp/activate/",
        "passkeys": "/accounts/second-factor/webauthn/",
        "add-passkey": "/accounts/second-factor/webauthn/add/",
        "sessions": "/accounts/sessions/",
        "email": "/accounts/email/",
        "sign-out": "/logout/",
    }


@pytest.fixture
def full(busy: Account) -> Account:  # noqa: F811
    """With what only some pages show."""
    make_management_key(busy, name="deploy-job", scopes=["keys:read", "usage:read"], actor=ACTOR)
    return busy


def look(page: Page, name: str, sheet: str) -> list[str]:
    """The faults of a page with everything on it unfolded."""
    for details in page.locator("main details").all():
        details.evaluate("one => { one.open = true; }")
    # Without preloading, for which axe-core fetches style sheets from addresses that are not theirs.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    told = [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]
    if RENEWS:
        SHEETS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHEETS / f"{name}-{sheet}.png", full_page=True)
    faults: list[str] = page.evaluate(FAULTS)
    return told + faults


VIEWS = [
    pytest.param(scheme, viewport, id=f"{scheme}-{'desktop' if viewport is DESKTOP else 'phone'}")
    for scheme in ("light", "dark")
    for viewport in (DESKTOP, PHONE)
]


@pytest.mark.parametrize(("scheme", "viewport"), VIEWS)
def test_no_page_has_a_fault(full, open_page, scheme, viewport, request):  # noqa: F811
    page, complaints = open_page(scheme=scheme, viewport=viewport)
    sheet, faults = request.node.callspec.id, {}
    for name, address in before_signing_in(full).items():
        page.goto(address)
        faults[name] = look(page, name, sheet)
    assert all(re.search(r"status of 4\d\d", one) for one in complaints)  # links that are used up say so
    complaints.clear()
    sign_in(page)
    for name, address in after_signing_in(full).items():
        page.goto(address)
        faults[name] = look(page, name, sheet)
    assert {name: found for name, found in faults.items() if found} == {}
    assert not complaints


@pytest.mark.parametrize(("scheme", "viewport"), VIEWS)
def test_no_page_of_an_empty_account_has_a_fault(acme, open_page, scheme, viewport, request):  # noqa: F811
    page, complaints = open_page(scheme=scheme, viewport=viewport)
    sign_in(page)
    faults = {}
    for place in ("", "keys/", "try/", "usage/", "models/", "team/", "account/", "audit/"):
        page.goto(f"/console/{acme.public_id}/{place}")
        name = f"empty-{place.strip('/') or 'overview'}"
        faults[name] = look(page, name, request.node.callspec.id)
    assert {name: found for name, found in faults.items() if found} == {}
    assert not complaints


def instead(html: bytes) -> Callable[[Route], None]:
    return lambda route: route.fulfill(body=html, content_type="text/html")


def in_a_thread(make: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    def made() -> dict[str, bytes]:
        try:
            return make()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(made).result()


@pytest.mark.parametrize(("scheme", "viewport"), VIEWS)
def test_no_page_has_a_fault_while_redis_is_away(full, open_page, redis_away, scheme, viewport, request):  # noqa: F811
    """The console's own process has its Redis: the page is made here, and shown where it belongs."""
    client, key = Client(), addresses(full)["key"]
    client.force_login(full.memberships.get(user__username="ada").user)
    with redis_away():  # in a thread, since Playwright keeps an event loop in this one
        pages = in_a_thread(lambda: {path: client.get(path).content for path in (f"/console/{full.public_id}/", key)})
    page, complaints = open_page(scheme=scheme, viewport=viewport)
    sign_in(page)
    faults = {}
    for path, html in pages.items():
        assert "What is left can’t be read at the moment." in html.decode()
        page.route(f"**{path}", instead(html))
        page.goto(path)
        name = f"redis-away-{'key' if path == key else 'overview'}"
        faults[name] = look(page, name, request.node.callspec.id)
    assert {name: found for name, found in faults.items() if found} == {}
    assert not complaints


def test_an_invitation_has_no_fault(full, open_page):  # noqa: F811
    invite(full, email="guest@example.org", role="viewer", actor=ACTOR)
    (link,) = re.findall(r"https?://[^/]+(/invitations/\S+)", str(mail.outbox[-1].body))
    page, complaints = open_page(viewport=PHONE)
    page.goto(link)
    assert look(page, "invitation", "light-phone") == [] and not complaints
