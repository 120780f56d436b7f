"""The middleware `cors` of the stacks, with nothing but its file and a real Traefik: what a page may send and read."""

from __future__ import annotations

from contextlib import contextmanager

import httpx
import pytest
import yaml

from deploy.demo.place import CHECKOUT, plain_environment
from deploy.demo.ports import free_ports
from tests.gateway.conftest import traefik_binary
from tests.servers import running, wait_until
from tests.stack.sdks import SDKS

PAGE = "https://app.example.org"
OF_COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]["traefik"]["environment"]


@contextmanager
def traefik(folder, **environment):
    """As docker-compose.yml configures it, on free ports and without Docker."""
    web, gate = free_ports(2)
    shipped = {name: str(value) for name, value in OF_COMPOSE.items() if "$" not in str(value)}
    ours = {
        "DOMAIN": "localhost",
        "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS": f"127.0.0.1:{web}",
        "TRAEFIK_ENTRYPOINTS_GATE_ADDRESS": f"127.0.0.1:{gate}",
        "TRAEFIK_PROVIDERS_DOCKER": "false",
        "TRAEFIK_PROVIDERS_FILE_DIRECTORY": str(CHECKOUT / "deploy" / "traefik" / "stack"),
    }
    del shipped["TRAEFIK_PROVIDERS_DOCKER"], shipped["TRAEFIK_PROVIDERS_DOCKER_EXPOSEDBYDEFAULT"]
    del ours["TRAEFIK_PROVIDERS_DOCKER"]
    log = folder / "traefik.log"
    with (
        running([traefik_binary()], env=plain_environment() | shipped | ours | environment, log=log),
        httpx.Client(base_url=f"http://127.0.0.1:{web}", headers={"Host": "api.localhost"}, trust_env=False) as client,
    ):
        wait_until(lambda: answers(client), f"Traefik answering: {log.read_text()[-1000:]}", 60)
        yield client


def answers(client):
    try:
        return preflight(client).status_code == 200
    except httpx.TransportError:
        return False


def preflight(client, *headers, origin=PAGE):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ",".join(headers)}
    return client.options("/any_model/x", headers={"Origin": origin, **asked})


def names(answer, header):
    return {name.strip().lower() for name in answer.headers.get(header, "").split(",") if name.strip()}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    with traefik(tmp_path_factory.mktemp("traefik"), CORS_ORIGINS=f"https://first.example.org, {PAGE}") as client:
        yield client


@pytest.mark.parametrize("sdk", SDKS)
def test_a_page_may_send_what_an_sdk_sends(shipped, sdk):
    answer = preflight(shipped, *SDKS[sdk])
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert set(SDKS[sdk]) <= names(answer, "Access-Control-Allow-Headers")


def test_a_page_may_read_what_tells_it_to_wait_and_which_request_it_was(shipped):
    told = {"ratelimit", "ratelimit-policy", "retry-after", "x-should-retry", "x-request-id", "www-authenticate"}
    assert told <= names(shipped.get("/any_model/x", headers={"Origin": PAGE}), "Access-Control-Expose-Headers")


def test_no_page_may_send_cookies_and_no_other_page_may_call(shipped):
    assert "Access-Control-Allow-Credentials" not in preflight(shipped, "authorization").headers
    assert "Access-Control-Allow-Origin" not in preflight(shipped, origin="https://elsewhere.example").headers


def test_headers_of_ones_own_are_added(tmp_path):
    with traefik(tmp_path, CORS_ORIGINS=PAGE, CORS_MORE_HEADERS="X-Tenant, X-Trace-Id") as client:
        allowed = names(preflight(client), "Access-Control-Allow-Headers")
    assert {"x-tenant", "x-trace-id", "authorization", "x-stainless-lang"} <= allowed


def test_headers_of_ones_own_take_the_place_of_the_list(tmp_path):
    with traefik(tmp_path, CORS_ORIGINS=f" ,{PAGE},", CORS_HEADERS="Authorization,Content-Type") as client:
        assert names(preflight(client), "Access-Control-Allow-Headers") == {"authorization", "content-type"}
