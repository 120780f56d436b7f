"""The access log of a real Traefik with the stacks' files, after secret links were used."""

from __future__ import annotations

from itertools import count

import pytest

from runtime.secret_links import PREFIXES
from tests.servers import wait_until
from tests.stack.shipped_traefik import shipped_traefik

CONSOLE = {"Host": "console.localhost"}
COUNT = count()
SECRET = "a-secret_of:ours.123"
ROUTER = {"entryPoints": ["web"], "rule": "Host(`console.localhost`)", "middlewares": ["people"], "service": "console"}
# Nothing listens there: Traefik's 502 is logged like any other answer.
SERVED = {
    "routers": {"console": ROUTER},
    "services": {"console": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:1"}]}}},
}


@pytest.fixture(scope="module")
def traefik(tmp_path_factory):
    with shipped_traefik(tmp_path_factory.mktemp("traefik"), HTTPS_PORT="443") as traefik:
        yield traefik


@pytest.fixture(params=["there", "away"])
def console(request, traefik):
    """The console's service, or none, in which case other routers answer."""
    there = request.param == "there"
    traefik.serve(SERVED if there else {})
    wait_until(lambda: ("console@file" in last_line(traefik)) == there, f"the console {request.param}")
    return traefik.web


def last_line(traefik):
    mark = f"page-{next(COUNT)}"
    traefik.web.get(f"/{mark}", headers=CONSOLE)
    wait_until(lambda: mark in traefik.log.read_text(), "the page in the log")
    return next(line for line in traefik.log.read_text().splitlines() if mark in line)


ENDINGS = ("", "/", "/more/", f"/?token={SECRET}", f"?next={SECRET}")
LINKS = [
    *(f"{prefix}{SECRET}{ending}" for prefix in PREFIXES for ending in ENDINGS),
    f"/invit%61tions/{SECRET}/",
    f"//invitations//{SECRET}/",
    f"/login/?next=/invitations/{SECRET}/",
]


def follow(client, link):
    """As written here; httpx would normalise it."""
    url = client.base_url.copy_with(raw_path=link.encode())
    client.get(url, headers=CONSOLE)
    client.post(url, headers=CONSOLE | {"Referer": f"http://console.localhost{link}"})


def read_log(traefik, client, mark):
    """The log up to one last page, so that everything before it has been written."""
    client.get(f"/{mark}", headers=CONSOLE)
    wait_until(lambda: mark in traefik.log.read_text(), "the page after the links in the log")
    return traefik.log.read_text()


def test_a_link_with_a_secret_is_in_no_log(traefik, console, request):
    for link in LINKS:
        follow(console, link)
    log = read_log(traefik, console, f"page-while-{request.node.callspec.id}")
    assert '"RequestPath":"/login/"' in log
    assert SECRET not in log


def test_by_http_it_is_redirected_and_is_in_no_log(traefik):
    for prefix in PREFIXES:
        answer = traefik.plain.get(f"{prefix}{SECRET}/", headers=CONSOLE)
        assert answer.headers["Location"] == f"https://console.localhost{prefix}{SECRET}/"
    assert SECRET not in read_log(traefik, traefik.plain, "page-by-http")
