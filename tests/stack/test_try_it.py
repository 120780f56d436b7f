"""Try it, in a real Chromium, through a real Traefik: what a customer sees of calls from the console's page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.console.test_browser import CHROMIUM, PASSWORD, chromium  # noqa: F401

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]

OWNER = f"""
from accounts.models import Account, Membership, User
user = User.objects.create_user("tess", "tess@example.org", {PASSWORD!r})
Membership.objects.create(user=user, account=Account.objects.get(name="hourlys"), role="owner")
print(Account.objects.get(name="hourlys").public_id)
"""


@pytest.fixture(scope="module")
def hourly(stack, client) -> str:
    """The id of an account that tess owns: each of its keys has three calls an hour."""
    return str(stack.service.manage("shell", "--verbosity", "0", "-c", OWNER)).strip()


@pytest.fixture
def page(chromium, stack, hourly):  # noqa: F811
    context = chromium.new_context(base_url=stack.place.console_url, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto("/login/")
    page.get_by_label("User name").fill("tess")
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main form").get_by_role("button", name=re.compile("^sign in$", re.I)).first.click()
    page.goto(f"/console/{hourly}/try/")
    yield page
    context.close()


def send(page: Page) -> None:
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_a_key_made_for_the_page_calls_until_its_limit_is_reached(page):
    page.get_by_role("button", name="Make a key for one hour").click()
    page.get_by_label("Method").select_option("POST")
    page.get_by_label("Path").fill("/anything?x=1")
    page.locator("#try-body").fill('{"text": "Ada"}')
    for _ in range(3):
        send(page)
        expect(page.locator("#try-status")).to_have_text(re.compile("^200"))
    answer = page.locator("#try-text").inner_text()
    assert '"/echo/anything?x=1"' in answer or "/echo/anything?x=1" in answer
    assert "ask_" not in answer  # the key did not reach the model
    expect(page.locator("#try-facts")).to_contain_text("1 unit")
    send(page)
    expect(page.locator("#try-status")).to_have_text(re.compile("^429"))
    expect(page.locator("#try-problem")).to_contain_text("Over a limit")
    expect(page.locator("#try-facts")).to_contain_text("Nothing was charged")
    expect(page.locator("#try-facts")).to_contain_text("0 of 3 left")
    expect(page.get_by_role("link", name="What to do about it")).to_have_attribute(
        "href", re.compile("/errors/quota_exceeded$")
    )


def test_a_pasted_key_goes_to_the_gateway_and_to_nobody_else(page, stack, client):
    seen: list[tuple[str, bool]] = []
    key = client.keys["echo"]

    def note(request) -> None:
        told = f"{request.url} {request.post_data} {request.all_headers()}"
        seen.append((request.url, key in told))

    page.on("request", note)
    page.get_by_label("Paste a key").fill(key)
    send(page)
    expect(page.locator("#try-status")).to_have_text(re.compile("^200"))
    page.get_by_role("link", name="Models").click()
    page.get_by_role("heading", name="Models", exact=True).wait_for()
    told = [url for url, has_key in seen if has_key]
    assert told and all(url.startswith(f"{stack.place.gateway_url}/echo/") for url in told)
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert key not in kept and key not in page.content()


@pytest.mark.parametrize(
    ("key", "path", "said"),
    [
        ("", "/", "Paste a key first"),
        ("Bearer x", "/", "Paste the key alone"),
        ("x", "nowhere", "stay below the model’s address"),
        ("x", "/../echo2/", "stay below the model’s address"),
        ("x", "/%2e%2e/echo2/", "stay below the model’s address"),
    ],
)
def test_what_cannot_be_sent_is_said_before_it_is_sent(page, stack, key, path, said):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#try-key").fill(key)
    page.get_by_label("Path").fill(path)
    send(page)
    expect(page.locator("#try-problem")).to_contain_text(said)
    assert not [url for url in asked if url.startswith(f"{stack.place.gateway_url}/")]


def test_a_refused_key_is_explained(page):
    page.get_by_label("Paste a key").fill("no-key-of-ours")
    send(page)
    expect(page.locator("#try-status")).to_have_text(re.compile("^401"))
    expect(page.locator("#try-problem")).to_contain_text("Invalid API key")


def test_a_call_can_be_stopped(page, client):
    page.get_by_label("Paste a key").fill(client.keys["echo"])
    page.get_by_label("Path").fill("/never/events")  # its second event waits
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#try-text")).to_contain_text("data")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#try-problem")).to_contain_text("You stopped the call")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
