"""The stacks' middleware `cors`, with only its file and a real Traefik: what a page may send and read."""

from __future__ import annotations

import pytest

from tests.stack.sdks import SDKS
from tests.stack.shipped_traefik import shipped_traefik

PAGE = "https://app.example.org"


def preflight(client, *headers, origin=PAGE):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ",".join(headers)}
    return client.options("/any_model/x", headers={"Host": "api.localhost", "Origin": origin, **asked})


def names(answer, header):
    return {name.strip().lower() for name in answer.headers.get(header, "").split(",") if name.strip()}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traefik")
    with shipped_traefik(folder, CORS_ORIGINS=f"https://first.example.org, {PAGE}") as traefik:
        yield traefik.web


@pytest.mark.parametrize("sdk", SDKS)
def test_a_page_may_send_what_an_sdk_sends(shipped, sdk):
    answer = preflight(shipped, *SDKS[sdk])
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert set(SDKS[sdk]) <= names(answer, "Access-Control-Allow-Headers")


def test_a_page_may_read_retry_after_and_the_request_id(shipped):
    told = {"ratelimit", "ratelimit-policy", "retry-after", "x-should-retry", "x-request-id", "www-authenticate"}
    assert told <= names(
        shipped.get("/any_model/x", headers={"Host": "api.localhost", "Origin": PAGE}), "Access-Control-Expose-Headers"
    )


def test_no_page_may_send_cookies_and_no_other_page_may_call(shipped):
    assert "Access-Control-Allow-Credentials" not in preflight(shipped, "authorization").headers
    assert "Access-Control-Allow-Origin" not in preflight(shipped, origin="https://elsewhere.example").headers


def test_your_own_headers_are_added(tmp_path):
    with shipped_traefik(tmp_path, CORS_ORIGINS=PAGE, CORS_MORE_HEADERS="X-Tenant, X-Trace-Id") as traefik:
        allowed = names(preflight(traefik.web), "Access-Control-Allow-Headers")
    assert {"x-tenant", "x-trace-id", "authorization", "x-stainless-lang"} <= allowed


def test_your_own_headers_replace_the_list(tmp_path):
    with shipped_traefik(tmp_path, CORS_ORIGINS=f" ,{PAGE},", CORS_HEADERS="Authorization,Content-Type") as traefik:
        assert names(preflight(traefik.web), "Access-Control-Allow-Headers") == {"authorization", "content-type"}


@pytest.mark.parametrize(
    ("console", "origin"),
    [
        ("http://console.localhost:80", "http://console.localhost"),
        ("https://console.example.org:443", "https://console.example.org"),
        ("https://console.example.org:8443", "https://console.example.org:8443"),
    ],
)
def test_the_console_may_call_under_the_origin_that_a_browser_sends(tmp_path, console, origin):
    with shipped_traefik(tmp_path, CONSOLE_URL=console) as traefik:
        assert preflight(traefik.web, origin=origin).headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Origin" not in preflight(traefik.web).headers
