"""deploy/compose/https.yml with pebble's certificates: the names, the redirects, and a key sent by http."""

from __future__ import annotations

import re
import tempfile
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.compose import pebble
from tests.compose.engine import Stack, free_name, why_not
from tests.servers import free_port, wait_until

DOMAIN = "stack.test"
HERE = "tests/compose"
NEEDED = ("traefik", "gate", "console", "corporate", "errors", "en_core_web_sm")


@pytest.fixture(scope="module")
def authority():
    if not pebble.is_installed():
        pytest.skip("pebble is not installed (Debian: apt-get install pebble)")
    with (
        tempfile.TemporaryDirectory(prefix="pebble-", dir="/tmp") as folder,
        pebble.pebble(Path(folder), free_port()) as one,
    ):
        yield one


@pytest.fixture(scope="module")
def https(authority):
    """The stack with https.yml, one model only, and no discovery, which would not trust pebble."""
    if reason := why_not():
        pytest.skip(reason)
    more = {
        "DOMAIN": DOMAIN,
        "ACME_EMAIL": "ada@stack.test",
        "PUBLISH_ON": "127.0.0.1",
        "HTTPS_PORT": str(authority.tls_port),
        "ACME_DIRECTORY": authority.directory,
        "PEBBLE_FOLDER": str(authority.folder),
    }
    files = ("docker-compose.yml", "deploy/compose/https.yml", f"{HERE}/pebble.yml")
    stack = Stack(free_name("https"), free_port(), files, more)
    try:
        stack.compose("up", "--build", "-d", "--scale", "gate=1", *NEEDED, seconds=600)
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def ask(https, authority):
    """`ask("api", "/path", https=True)`: by name, with only pebble's certificates trusted."""
    trust = authority.trust()

    def ask(name, path, *, by="https", method="GET", **more):
        host = f"{name}.{DOMAIN}" if name else DOMAIN
        port = authority.tls_port if by == "https" else https.port
        with httpx.Client(verify=trust, trust_env=False, timeout=15, follow_redirects=False) as client:
            headers = {"Host": f"{host}:{port}", **more.pop("headers", {})}
            return client.request(
                method, f"{by}://127.0.0.1:{port}{path}", headers=headers, extensions={"sni_hostname": host}, **more
            )

    def is_certified(name):
        try:
            return ask(name, "/").status_code < 500
        except httpx.TransportError:
            return False

    for name in ("", "api", "console", "dashboard"):
        wait_until(partial(is_certified, name), f"the certificate of {name or 'the site'}", 120)
    return ask


@pytest.fixture(scope="module")
def key(https, ask):
    key = {"Authorization": f"Bearer {https.issue_key('pros', 'pro')}"}
    wait_until(lambda: ask("api", "/en_core_web_sm/health", headers=key).status_code == 200, "the model", 120)
    return key


def test_a_call_by_https_reaches_the_model(ask, key):
    answer = ask("api", "/en_core_web_sm/ner", method="POST", headers=key, json={"text": "Ada Lovelace."})
    assert answer.status_code == 200
    assert answer.json()["entities"][0]["text"] == "Ada Lovelace"


@pytest.mark.parametrize("name", ["", "console", "dashboard"])
def test_a_page_by_http_is_redirected_with_hsts(ask, authority, name):
    answer = ask(name, "/login/?next=/admin/", by="http")
    host = f"{name}.{DOMAIN}" if name else DOMAIN
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://{host}:{authority.tls_port}/login/?next=/admin/"
    assert ask(name, "/").headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_secret_link_by_http_is_redirected_and_is_in_no_log(https, ask):
    answer = ask("console", "/invitations/typed-without-an-s/", by="http")
    assert answer.headers["Location"].endswith("/invitations/typed-without-an-s/")
    assert ask("console", "/login/?mark=1", by="http").status_code == 301
    wait_until(lambda: '"RouterName":"plain-pages@file"' in https.logs("traefik"), "a line in the access log", 30)
    assert "typed-without-an-s" not in https.logs("traefik")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
def test_a_key_by_http_is_refused_and_never_reaches_gate_or_model(https, ask, key, method):
    answer = ask("api", f"/en_core_web_sm/seen-{method}", by="http", method=method, headers=key)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "revoke it" in answer.json()["detail"]
    assert "Location" not in answer.headers
    assert f"seen-{method}" not in https.logs("gate") + https.logs("en_core_web_sm")


def test_what_the_gate_refuses_by_https_is_in_its_log(https, ask):
    """Otherwise the test above could not fail."""
    assert ask("api", "/en_core_web_sm/seen-by-the-gate").status_code == 401
    wait_until(lambda: "seen-by-the-gate" in https.logs("gate"), "the line in the gate's log", 30)


def test_the_console_knows_that_it_is_reached_by_https(ask, authority):
    page = ask("console", "/login/")
    assert page.status_code == 200
    assert "Secure" in page.headers["Set-Cookie"]
    (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text))
    headers = {
        "Origin": f"https://console.{DOMAIN}:{authority.tls_port}",
        "Cookie": f"csrftoken={page.cookies['csrftoken']}",
    }
    form = {"csrfmiddlewaretoken": token, "username": "nobody", "password": "x"}
    assert ask("console", "/login/", method="POST", data=form, headers=headers).status_code == 200
    elsewhere = headers | {"Origin": "https://elsewhere.test"}
    assert ask("console", "/login/", method="POST", data=form, headers=elsewhere).status_code == 403


def test_the_first_operators_link_is_https(https, authority):
    assert f"https://console.{DOMAIN}:{authority.tls_port}/first-operator/" in https.logs("setup")


def test_check_stack_finds_nothing_and_asks_by_https_itself(https, ask, authority):
    https.compose("up", "--build", "-d", "--no-deps", "fr_core_news_md", seconds=600)  # the catalogue has it too
    root = authority.folder / "root.pem"
    root.write_text(authority.root())
    root.chmod(0o644)
    trusting = ["-v", f"{authority.folder}:/trust:ro", "-e", "SSL_CERT_FILE=/trust/root.pem"]
    check = (
        f"python manage.py check_stack --gate-url https://127.0.0.1:8900 --traefik-url https://dashboard.{DOMAIN}"
        " --traefik-user operator --traefik-password-file /secrets/operator/DASHBOARD_PASSWORD"
    )
    wait_until(lambda: ask("api", "/fr_core_news_md/").status_code == 401, "the gate before the other model", 60)
    assert https.compose("run", "--rm", "--no-deps", "-T", *trusting, "discover", *check.split()) == "Nothing found.\n"
