"""Networks that keys are narrowed to: client and network in one form, and none that can never match."""

from __future__ import annotations

import json
from io import StringIO
from ipaddress import IPv6Address, ip_address

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from accounts.facts.facts import key_from_json
from accounts.facts.publish import models_base
from accounts.models import ApiKey
from accounts.services.keys import change_key, check_key
from runtime.networks import read_address, read_network, read_networks, surroundings
from tests.api.callers import member_of
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401

db = pytest.mark.django_db(transaction=True)

WRITTEN = [
    ("203.0.113.5", "203.0.113.5/32"),
    (" 203.0.113.0/24 ", "203.0.113.0/24"),
    ("2001:DB8::/32", "2001:db8::/32"),
    ("::ffff:203.0.113.5", "203.0.113.5/32"),
    ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
    ("::FFFF:CB00:7105", "203.0.113.5/32"),
    ("::ffff:0:0/96", "0.0.0.0/0"),
    ("0:0:0:0:0:ffff:cb00:7100/120", "203.0.113.0/24"),
    ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ("0.0.0.0/0", "0.0.0.0/0"),
    ("::/0", "::/0"),
    ("::1", "::1/128"),
    ("127.0.0.1", "127.0.0.1/32"),
    ("fe80::/10", "fe80::/10"),
    ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
    ("240.0.0.0/4", "240.0.0.0/4"),
    ("::/8", "::/8"),
]

NEVER = [
    "fe80::1%eth0",
    "fe80::%eth0/64",
    "fe80::1%25eth0",
    "::ffff:203.0.113.5%1",
    "0.0.0.0",
    "0.0.0.0/8",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.0.0.0/8",
    "255.255.255.255",
    "ff02::1",
    "ff00::/8",
    "::ffff:224.0.0.1",
    "::ffff:0.0.0.0",
    "::fffe:0:0/95",
    "::203.0.113.5",
    "::ffff:0.0.0.0/104",
    "",
    "x",
    "203.0.113.5/24",
    "203.0.113.5:80",
    "[2001:db8::1]",
    "203.0.113.0/33",
    "203.0.113",
    "1",
    "203.0.113.0/24,10.0.0.0/8",
]


@pytest.mark.parametrize(("text", "network"), WRITTEN)
def test_a_network_is_stored_in_one_form(text, network):
    assert str(read_network(text)) == network


@pytest.mark.parametrize("text", NEVER)
def test_what_can_never_match_is_refused(text):
    with pytest.raises(ValueError):
        read_network(text)


def test_a_network_written_in_two_ways_is_stored_once():
    texts = ["203.0.113.5", "::ffff:203.0.113.5", "10.0.0.0/8", "203.0.113.5/32"]
    assert [str(network) for network in read_networks(texts)] == ["203.0.113.5/32", "10.0.0.0/8"]


@given(st.ip_addresses(v=4), st.integers(1, 32))
def test_a_client_of_ipv4_is_in_its_network_however_the_two_are_written(address, prefix):
    plain = f"{ip_address(int(address) >> (32 - prefix) << (32 - prefix))}"
    mapped = str(IPv6Address(0xFFFF << 32 | int(ip_address(plain))))
    try:
        networks = [read_network(f"{plain}/{prefix}"), read_network(f"{mapped}/{96 + prefix}")]
    except ValueError:
        return  # one that no client is in
    for text in (str(address), f"::ffff:{address}", f"{address}:4711", f"[::ffff:{address}]:4711"):
        assert all(read_address(text) in network for network in networks)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.5", "203.0.113.0/24"),
        ("203.0.113.255", "203.0.113.0/24"),
        ("::ffff:203.0.113.5", "203.0.113.0/24"),
        ("203.0.113.5:4711", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"),
        ("nowhere", ""),
        ("", ""),
    ],
)
def test_an_address_has_its_neighbours_in_its_network(text, network):
    assert surroundings(text) == network


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("203.0.113.5:1", "203.0.113.5"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("[::ffff:203.0.113.5]:80", "203.0.113.5"),
    ],
)
def test_a_client_s_address_is_read_as_proxies_write_it(text, address):
    assert str(read_address(text)) == address


@pytest.mark.parametrize("text", ["", "203.0.113.5:", "203.0.113.5:123456", "[203.0.113.5", "2001:db8::1:443:", "a"])
def test_what_is_no_address_is_no_client(text):
    with pytest.raises(ValueError):
        read_address(text)


@db
@pytest.mark.parametrize("text", ["::ffff:203.0.113.5", "::ffff:203.0.113.0/120"])
@pytest.mark.parametrize("client", ["203.0.113.5", "::ffff:203.0.113.5", "203.0.113.5:4711", "[::ffff:203.0.113.5]:1"])
def test_a_key_narrowed_to_mapped_addresses_admits_them(issued, ask, text, client):  # noqa: F811
    change_key(issued.key, networks=[text], actor=ACTOR)
    assert ask(issued.text, x_forwarded_for=client).status == 200
    assert ask(issued.text, x_forwarded_for="198.51.100.1").status == 403


@db
def test_a_mapped_network_that_was_stored_before_admits_its_clients(issued, ask):  # noqa: F811
    models_base(ApiKey).filter(pk=issued.key.pk).update(networks=["::ffff:203.0.113.0/120", "fe80::1%eth0/128"])
    change_key(issued.key, name="touched", actor=ACTOR)
    assert ask(issued.text, x_forwarded_for="203.0.113.5").status == 200
    assert ask(issued.text, x_forwarded_for="fe80::1%eth1").status == 200
    assert ask(issued.text, x_forwarded_for="198.51.100.1").status == 403


def test_stored_networks_are_read_in_one_form():
    stored = {
        "public_id": "A" * 16,
        "version": 1,
        "secrets": [],
        "models": None,
        "networks": ["::ffff:203.0.113.5/128"],
        "methods": [],
        "limits": [],
        "expires": None,
        "revoked": False,
    }
    facts = key_from_json(json.dumps(stored))
    assert facts.admits_address("203.0.113.5") and facts.admits_address("::ffff:203.0.113.5")
    assert not facts.admits_address("203.0.113.6")


REFUSED = ["fe80::1%eth0", "0.0.0.0", "ff02::1", "::203.0.113.5"]


@db
@pytest.mark.parametrize("text", REFUSED)
def test_every_way_in_refuses_a_network_that_can_never_match(account, issued, text):
    owner = member_of(account, "owner")
    body = json.dumps({"name": "k", "networks": [text]})
    for response in (
        owner.post("/api/v1/keys/", body, content_type="application/json"),
        owner.patch(f"/api/v1/keys/{issued.key.public_id}/", body, content_type="application/json"),
    ):
        assert response.status_code == 400
        (fault,) = response.json()["errors"]
        assert fault["field"] == "networks" and "203.0.113.0/24" in fault["detail"]
    with pytest.raises(CommandError, match="Write an address or a network"):
        call_command("issue_key", account="acme", name="k", allow_ip=[text], stdout=StringIO())
    with pytest.raises(ValidationError):
        check_key(networks=[text])  # the admin's form
