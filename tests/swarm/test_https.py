"""With deploy/swarm/https.yml. The authority is unreachable, so the certificate is Traefik's own and is not tested."""

from __future__ import annotations

import http.client
import ssl
import urllib.parse
from contextlib import suppress

import pytest

from tests.servers import free_port
from tests.swarm.cluster import API, CONSOLE
from tests.swarm.conftest import NOW
from tests.swarm.engine import wait_for

HEALTH = "/en_core_web_sm/health"


@pytest.fixture(scope="module")
def https_port(now):
    port = free_port()
    now.deploy(
        NOW,
        heading="## HTTPS",
        DOMAIN="localhost",
        ACME_EMAIL="operator@example.org",
        ACME_DIRECTORY="https://127.0.0.1:1/directory",
        HTTPS_PORT=str(port),
        URL_PORT=f":{port}",
    )
    wait_for(lambda: status(port, API, HEALTH, key=now.key) == 200, "an answer by https")
    yield port
    now.deploy(NOW)
    wait_for(lambda: now.answers(200, API, HEALTH, key=now.key), "an answer by http again")


def ask(port, host, path, *, key=""):
    trusting = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=trusting)
    try:
        connection.request("GET", path, headers={"Host": host} | ({"Authorization": f"Bearer {key}"} if key else {}))
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def status(port, host, path, **more):
    with suppress(OSError, http.client.HTTPException):
        return ask(port, host, path, **more).status
    return 0


def test_a_key_is_judged_by_https(https_port, now):
    assert status(https_port, API, HEALTH, key=now.key) == 200
    assert status(https_port, API, HEALTH) == 401


def test_a_key_by_plain_http_is_refused_and_not_redirected(https_port, now):
    refused = now.ask(API, HEALTH, key=now.key)
    assert (refused.status, refused.headers["content-type"]) == (403, "application/problem+json")
    assert "location" not in refused.headers
    assert refused.json()["status"] == 403
    assert b"https" in refused.body


@pytest.mark.parametrize("host", ["localhost", CONSOLE, "dashboard.localhost"])
def test_a_browser_is_redirected_to_https(https_port, now, host):
    answer = now.ask(host, "/some/page")
    assert answer.status in (301, 308)
    assert urllib.parse.urlsplit(answer.headers["location"])[:3] == ("https", f"{host}:{https_port}", "/some/page")


@pytest.mark.parametrize(("host", "path"), [("localhost", "/"), (CONSOLE, "/login/")])
def test_pages_for_people_have_hsts(https_port, host, path):
    answer = ask(https_port, host, path)
    assert answer.status == 200
    assert "max-age=31536000" in answer.getheader("Strict-Transport-Security")
