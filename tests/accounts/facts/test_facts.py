"""What facts say by themselves: at the very moment, at the edge of a network, for an empty set."""

from __future__ import annotations

import json

import pytest

from accounts.facts.facts import KeyFacts, account_from_json, key_from_json

MOMENT = 1_800_000_000.0


def key(**changes: object) -> KeyFacts:
    secret = {"id": 1, "digest": "00" * 28, "pepper": "abcdefgh", "until": None}
    facts = {"public_id": "AAAAAAAAkkkkkkkk", "version": 1, "secrets": [secret], "models": None, "networks": []}
    facts |= {"methods": [], "limits": [], "expires": None, "revoked": False}
    return key_from_json(json.dumps(facts | changes))


@pytest.mark.parametrize(("now", "has_expired"), [(MOMENT - 1e-6, False), (MOMENT, True), (MOMENT + 1e-6, True)])
def test_a_key_has_expired_from_the_moment_on_that_it_names(now, has_expired):
    assert key(expires=MOMENT).has_expired(now) is has_expired


@pytest.mark.parametrize(("now", "has_ended"), [(MOMENT - 1e-6, False), (MOMENT, True), (MOMENT + 1e-6, True)])
def test_so_has_a_secret_in_grace(now, has_ended):
    (secret,) = key(secrets=[{"id": 1, "digest": "00" * 28, "pepper": "abcdefgh", "until": MOMENT}]).secrets
    assert secret.has_ended(now) is has_ended


def test_a_key_without_an_end_never_expires():
    assert not key().has_expired(1e12) and not key().secrets[0].has_ended(1e12)


@pytest.mark.parametrize(("models", "admits"), [(None, True), (["sm"], True), (["md"], False), ([], False)])
def test_a_key_that_is_narrowed_to_no_model_admits_none(models, admits):
    """As after the last of its models was deleted."""
    assert key(models=models).admits_model("sm") is admits


@pytest.mark.parametrize(("methods", "admits"), [([], True), (["GET"], False), (["GET", "POST"], True)])
def test_methods_bind_only_a_key_that_names_some(methods, admits):
    assert key(methods=methods).admits_method("POST") is admits


@pytest.mark.parametrize(
    ("networks", "address", "admits"),
    [
        ([], "203.0.113.7", True),
        (["203.0.113.0/24"], "203.0.113.0", True),
        (["203.0.113.0/24"], "203.0.113.255", True),
        (["203.0.113.0/24"], "203.0.114.0", False),
        (["198.51.100.0/24", "203.0.113.7/32"], "203.0.113.7", True),
        (["198.51.100.0/24", "203.0.113.7/32"], "203.0.113.8", False),
        (["2001:db8::/48"], "2001:db8:0:ffff::1", True),
        (["2001:db8::/48"], "2001:db8:1::1", False),
        (["2001:db8::/48"], "203.0.113.7", False),
    ],
)
def test_an_address_is_admitted_by_any_of_the_networks(networks, address, admits):
    assert key(networks=networks).admits_address(address) is admits


@pytest.mark.parametrize(
    ("written", "revoked", "paused"),
    [
        ({"revoked": False}, False, False),
        ({"revoked": True}, True, False),
        ({"revoked": True, "paused": True}, False, True),  # as it is written for gates that know no pause
        ({"revoked": True, "paused": False}, True, False),
    ],
)
def test_a_paused_key_is_not_a_revoked_one(written, revoked, paused):
    found = key(**written)
    assert (found.revoked, found.paused) == (revoked, paused)


def test_facts_of_a_later_version_are_read_without_what_is_new_in_them():
    """During an update, gates of two versions share one Redis."""
    text = {"public_id": "A" * 8, "version": 1, "state": "active", "plan": "free", "plan_since": 0, "overrides": {}}
    assert account_from_json(json.dumps(text | {"new": 1})) == account_from_json(json.dumps(text))
    assert key(new=1) == key()
