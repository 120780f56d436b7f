"""Management keys and operator tokens: where they are valid, and when they are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import ManagementKey, OperatorToken
from accounts.services.accounts import close_account
from accounts.services.credentials import find_credential, make_management_key, make_operator_token, revoke_credential
from store.throttles import GUESSES, network_of
from tests.api.callers import bearer
from tests.conftest import ACTOR

KEYS = "/api/v1/keys/"
BOTH = pytest.mark.parametrize("kind", ["management", "operator"])


def make(kind, account, scopes=("keys:write",), **more):
    if kind == "management":
        return make_management_key(account, name="k", scopes=scopes, actor=ACTOR, **more)
    return make_operator_token(name="k", scopes=scopes, actor=ACTOR, **more)


def ask_gate(text):
    ask = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": "GET", "X-Forwarded-For": "192.0.2.1"}
    return Client().get("/auth/", headers={**ask, "Authorization": f"Bearer {text}"})


@BOTH
def test_a_credential_is_shown_once_and_only_its_digest_is_stored(account, kind):
    row, text = make(kind, account)
    secret = text[-44:]
    stored = models_base(type(row)).values().get()
    assert text.startswith({"management": "ask_mgmt_", "operator": "ask_oper_"}[kind] + row.public_id)
    assert not [value for value in stored.values() if secret[:32] in str(value)]


@BOTH
def test_a_credential_is_valid_until_it_is_revoked(account, issued, kind):
    row, text = make(kind, account)
    assert [key["id"] for key in bearer(text).get(KEYS).json()["results"]] == [issued.key.public_id]
    revoke_credential(row, actor=ACTOR)
    response = bearer(text).get(KEYS)
    assert response.status_code == 401 and 'error="invalid_token"' in response["WWW-Authenticate"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER  "])
def test_the_scheme_may_be_in_any_case_with_blanks_after_it(account, scheme):
    _, text = make("management", account)
    assert Client(headers={"Authorization": f"{scheme} {text}"}).get(KEYS).status_code == 200


@BOTH
def test_a_credential_is_refused_after_it_expires(account, kind):
    row, text = make(kind, account, expires_at=timezone.now() + timedelta(1))
    assert bearer(text).get(KEYS).status_code == 200
    models_base(type(row)).update(expires_at=timezone.now())
    assert bearer(text).get(KEYS).status_code == 401


def test_a_management_key_ends_with_its_account(account):
    _, text = make("management", account)
    close_account(account, actor=ACTOR)
    assert bearer(text).get(KEYS).status_code == 401


@BOTH
def test_changing_any_part_of_the_string_invalidates_it(account, kind):
    _, text = make(kind, account)
    now = timezone.now()
    for place in range(len(text)):
        other = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
        assert find_credential(other, now) is None, place
    assert find_credential(text + "x", now) is None and find_credential(text[:-1], now) is None
    assert find_credential(text, now) is not None


def test_only_the_address_that_guesses_is_throttled(account, slow_guesses):
    _, text = make("management", account)
    answers = [bearer("x").get(KEYS).status_code for _ in range(slow_guesses + 1)]
    told = bearer("x").get(KEYS)
    assert answers == [401] * slow_guesses + [429] and told.status_code == 429 and int(told["Retry-After"]) >= 1
    assert bearer(text).get(KEYS).status_code == 200


def guesses(address: str) -> int:
    return Client(headers={"Authorization": "Bearer x"}, REMOTE_ADDR=address).get(KEYS).status_code


@pytest.fixture
def slow_guesses(monkeypatch) -> int:
    """A throttle for guesses that a slow machine can use up: how many guesses it allows."""
    monkeypatch.setattr("api.base.authentication.GUESSES", replace(GUESSES, calls=5, seconds=36_000))
    return 5


def test_all_addresses_of_a_64_share_one_throttle_for_guesses(account, slow_guesses):
    answers = [guesses(f"2001:db8:0:1::{number:x}") for number in range(slow_guesses + 1)]
    assert answers == [401] * slow_guesses + [429]
    assert guesses("2001:db8:0:1:ffff::1") == 429
    assert guesses("2001:db8:0:2::1") == 401


NETWORKS = {
    "192.0.2.7": "192.0.2.7",
    "::ffff:192.0.2.7": "192.0.2.7",
    "2001:db8::1": "2001:db8::/64",
    "2001:db8::ffff:0:0:1": "2001:db8::/64",
    "2001:db8:0:1::": "2001:db8:0:1::/64",
    "fe80::1%eth0": "fe80::/64",
    "": "",
    "a unix socket": "a unix socket",
}


@pytest.mark.parametrize("address", NETWORKS)
def test_an_address_counts_as_the_network_of_one_customer(address):
    assert network_of(address) == NETWORKS[address]


@pytest.mark.parametrize("text", ["", "x", "ask_mgmt_", "é", "ask_mgmt_" + "0" * 16 + "_" + "0" * 44])
def test_a_string_that_cannot_be_a_credential_costs_no_query(account, text, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert bearer(text).get(KEYS).status_code == 401


@BOTH
@pytest.mark.parametrize("imported", [False, True])
def test_the_gate_refuses_a_credential_without_asking_any_store(account, settings, kind, imported, monkeypatch):
    settings.IMPORTED_KEYS = imported
    _, text = make(kind, account)
    for question in ("find_imported", "find", "load", "learn_catalogue"):
        monkeypatch.setattr(f"accounts.facts.lookup.Lookup.{question}", lambda *args: 1 / 0)
    monkeypatch.setattr("store.link.Link.send", lambda *args: 1 / 0)
    assert ask_gate(text).status_code == 401  # not 503: no store was asked


def test_a_key_for_models_is_not_valid_here(account, issued, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert bearer(issued.text).get(KEYS).status_code == 401


@BOTH
def test_a_credential_outlives_a_change_of_the_pepper(account, settings, kind):
    _, text = make(kind, account)
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    assert bearer(text).get(KEYS).status_code == 200
    settings.KEY_PEPPER_OLD = ""  # that call stored its digest under the new pepper
    assert bearer(text).get(KEYS).status_code == 200


def test_a_credential_whose_pepper_is_gone_is_refused(account, settings):
    _, text = make("management", account)
    settings.KEY_PEPPER = "another-pepper-" + "y" * 40
    assert bearer(text).get(KEYS).status_code == 401


@BOTH
def test_authenticating_costs_one_query_and_once_a_minute_another_to_record_the_use(
    account, kind, django_assert_num_queries
):
    row, text = make(kind, account)
    url = f"{KEYS}{'0' * 16}/"
    with django_assert_num_queries(3):  # credential, record of its use, key
        bearer(text).get(url)
    with django_assert_num_queries(2):
        bearer(text).get(url)
    row.refresh_from_db()
    assert row.last_used_at is not None


def test_a_missing_scope_is_named(account):
    _, text = make("management", account, scopes=["usage:read"])
    response = bearer(text).get(KEYS)
    assert response.status_code == 403
    assert response["WWW-Authenticate"] == 'Bearer realm="authsvc", error="insufficient_scope", scope="keys:read"'


def test_a_management_key_sees_only_its_own_account(account, issued, pro_account, pro_key):
    _, text = make("management", account)
    ids = [key["id"] for key in bearer(text).get(KEYS).json()["results"]]
    assert ids == [issued.key.public_id]
    assert bearer(text).delete(f"{KEYS}{pro_key.key.public_id}/").status_code == 404


def test_an_operator_sees_every_account(issued, pro_key):
    _, text = make("operator", None)
    ids = {key["id"] for key in bearer(text).get(KEYS).json()["results"]}
    assert ids == {issued.key.public_id, pro_key.key.public_id}


@pytest.mark.parametrize("scopes", [[], ["keys:delete"], ["accounts:write"]])
def test_a_management_key_has_scopes_of_its_kind(account, scopes):
    with pytest.raises(Exception, match="Choose at least one of"):
        make("management", account, scopes=scopes)
    assert not ManagementKey.objects.exists() and not OperatorToken.objects.exists()
