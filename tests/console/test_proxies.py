"""The client behind proxies: what a trusted proxy says, never what anyone else writes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from accounts.models import AuditEvent
from accounts.services.acts import Actor
from console.proxies import BehindProxies, find_client
from runtime import env

TRAEFIK, BALANCER, CLIENT, FORGED = "172.20.0.3", "10.0.0.9", "203.0.113.7", "198.51.100.1"
NETWORKS = (ip_network("172.20.0.0/16"), ip_network("10.0.0.9"), ip_network("fd00::/8"))


def seen(peer: str, **headers: str) -> tuple[str, bool]:
    """The address and scheme that a view sees."""
    found = []

    def view(request):
        found.append((request.META.get("REMOTE_ADDR"), request.is_secure()))
        return HttpResponse()

    names = {name.replace("_", "-"): value for name, value in headers.items()}
    BehindProxies(view)(RequestFactory().get("/", REMOTE_ADDR=peer, headers=names))
    return found[0]


@pytest.fixture
def trusting(settings):
    settings.TRUSTED_PROXIES = NETWORKS


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        (TRAEFIK, CLIENT, CLIENT),
        (TRAEFIK, f"{FORGED}, {CLIENT}", CLIENT),  # Traefik or a balancer added the last one
        (TRAEFIK, f"{CLIENT}, {BALANCER}", CLIENT),
        (TRAEFIK, f"{FORGED}, {CLIENT}, {BALANCER}, {TRAEFIK}", CLIENT),
        (TRAEFIK, f" {FORGED} ,{CLIENT} ", CLIENT),
        (TRAEFIK, f"{BALANCER}, {TRAEFIK}", BALANCER),  # all are ours: take the first
        (TRAEFIK, f"nonsense, {BALANCER}", BALANCER),
        (TRAEFIK, f"{CLIENT}, nonsense", TRAEFIK),
        (TRAEFIK, f"{CLIENT},", TRAEFIK),
        (TRAEFIK, "", TRAEFIK),
        (TRAEFIK, "2001:db8::5", "2001:db8::5"),
        (TRAEFIK, f"::ffff:{CLIENT}", CLIENT),
        (f"::ffff:{TRAEFIK}", CLIENT, CLIENT),
        ("fd00::3", CLIENT, CLIENT),
        (TRAEFIK, f"{CLIENT}:4711", CLIENT),  # Azure's gateways write the port
        (TRAEFIK, f"{FORGED}, {CLIENT}:4711, {BALANCER}:80", CLIENT),
        (TRAEFIK, "[2001:db8::5]:4711", "2001:db8::5"),
        (TRAEFIK, f"[::ffff:{CLIENT}]:4711", CLIENT),
        (TRAEFIK, "fe80::5%eth0", "fe80::5"),
        (TRAEFIK, f"{CLIENT}:", TRAEFIK),
        (CLIENT, FORGED, CLIENT),  # an untrusted client's header is ignored
        (FORGED, f"{CLIENT}, {TRAEFIK}", FORGED),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(trusting, peer, forwarded_for, client):
    assert seen(peer, x_forwarded_for=forwarded_for)[0] == client


def test_a_proxy_written_as_mapped_ipv4_is_trusted(monkeypatch, settings):
    monkeypatch.setenv("X", "::ffff:172.20.0.0/112")
    settings.TRUSTED_PROXIES = env.networks("X", "")
    assert seen(TRAEFIK, x_forwarded_for=CLIENT)[0] == seen(f"::ffff:{TRAEFIK}", x_forwarded_for=CLIENT)[0] == CLIENT


def test_a_long_list_of_forged_addresses_is_not_walked():
    class Hops(list[str]):
        looked_at = 0

        def __reversed__(self):
            for hop in super().__reversed__():
                Hops.looked_at += 1
                yield hop

    hops = Hops([FORGED] * 10_000 + [CLIENT])
    assert str(find_client(ip_address(TRAEFIK), hops, NETWORKS)) == CLIENT
    assert Hops.looked_at == 2


@pytest.mark.parametrize("peer", ["", "unix:", "not an address"])
def test_a_peer_without_an_address_is_not_trusted(trusting, peer):
    assert seen(peer, x_forwarded_for=CLIENT, x_forwarded_proto="https") == (peer, False)


@pytest.mark.parametrize(
    ("peer", "proto", "is_secure"),
    [
        (TRAEFIK, "https", True),
        (TRAEFIK, "HTTPS", True),
        (TRAEFIK, "http", False),
        (TRAEFIK, "", False),
        (TRAEFIK, "wss", False),
        (TRAEFIK, "http, https", False),
        (CLIENT, "https", False),
    ],
)
def test_a_request_is_https_when_a_trusted_proxy_says_so(trusting, peer, proto, is_secure):
    assert seen(peer, x_forwarded_proto=proto)[1] is is_secure


@pytest.mark.parametrize("name", ["authsvc_scheme", "authsvc-scheme", "AUTHSVC_SCHEME", "x_authsvc_scheme"])
def test_no_header_makes_a_request_https(trusting, name):
    assert seen(CLIENT, **{name: "https"})[1] is False
    assert seen(TRAEFIK, **{name: "https"})[1] is False


def test_no_proxy_is_trusted_by_default():
    assert seen(TRAEFIK, x_forwarded_for=CLIENT, x_forwarded_proto="https") == (TRAEFIK, False)


@pytest.mark.django_db
def test_the_audit_log_has_the_client_and_not_the_proxy(trusting, admin_client):
    forwarded = {"x-forwarded-for": f"{FORGED}, {CLIENT}"}
    person = {
        "username": "mia",
        "password1": "a long password",
        "password2": "a long password",
        "usable_password": "true",
    }
    admin_client.post("/admin/accounts/user/add/", person, REMOTE_ADDR=TRAEFIK, headers=forwarded)
    assert AuditEvent.objects.get(act="user.create").address == CLIENT


def test_an_address_that_is_too_long_for_the_log_is_cut():
    request = RequestFactory().get("/", REMOTE_ADDR="x" * 100)
    assert len(Actor.address_of(request)) == 45


@pytest.mark.django_db
def test_cookies_are_for_https_and_hosts_for_the_console_behind_tls(trusting, settings):
    settings.CSRF_TRUSTED_ORIGINS, settings.ALLOWED_HOSTS = ["https://console.example.org"], ["console.example.org"]
    behind = {"host": "console.example.org", "x-forwarded-proto": "https", "x-forwarded-for": CLIENT}
    page = Client(headers=behind, REMOTE_ADDR=TRAEFIK).get("/login/")
    assert page.wsgi_request.build_absolute_uri() == "https://console.example.org/login/"
