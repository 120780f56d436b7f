"""Losing an answer never loses a key."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import ApiKey, KeptAnswer, OutboxRow
from accounts.services.credentials import make_management_key
from accounts.services.keys import issue_key
from accounts.services.sweeping import sweep_kept_answers
from api.keys import shown
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = "/api/v1/keys/"


def post(client, once, url=KEYS, **body):
    headers = {"Idempotency-Key": once} if once else {}
    return client.post(url, json.dumps(body), content_type="application/json", headers=headers)


def test_repeating_a_request_gets_the_same_answer_and_issues_one_key(program):
    first = post(program, "a-1", name="k")
    again = post(program, "a-1", name="k")
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json() and "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true" and again["Cache-Control"] == "no-store"
    assert ApiKey.objects.count() == 1


def test_the_key_in_a_repeated_answer_works_at_the_gate(program):
    post(program, "a-1", name="k")
    text = post(program, "a-1", name="k").json()["key"]
    ask = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": "GET", "X-Forwarded-For": "192.0.2.1"}
    assert Client().get("/auth/", headers={**ask, "Authorization": f"Bearer {text}"}).status_code == 200


def test_kept_answers_end_with_their_account(account, owner, place):
    key = post(owner, "a-1", name="k").json()["id"]
    assert post(owner, "a-2", url=f"{KEYS}{key}/rotate/").status_code == 200
    assert post(owner, "a-3", url="/api/v1/management-keys/", name="k", scopes=["keys:read"]).status_code == 201
    assert list(KeptAnswer.objects.values_list("account", flat=True)) == [account.public_id] * 3
    assert post(owner, None, url=f"{place}/close/", confirm=account.public_id).status_code == 204
    assert not KeptAnswer.objects.exists()


def test_the_quotes_of_a_structured_field_are_not_part_of_the_key(program):
    assert post(program, '"a-1"', name="k").json() == post(program, "a-1", name="k").json()


def test_a_different_body_or_address_with_the_same_key_is_refused(program, issued):
    post(program, "a-1", name="k")
    assert post(program, "a-1", name="other").status_code == 422
    assert post(program, "a-1", url=f"{KEYS}{issued.key.public_id}/rotate/").status_code == 422
    assert ApiKey.objects.count() == 2


def test_the_same_body_at_a_different_address_is_a_different_request(program, issued, account):
    """Otherwise rotating one key could be answered with the other key's secret."""
    other = issue_key(account, name="other", actor=ACTOR).key
    first = post(program, "r-1", url=f"{KEYS}{issued.key.public_id}/rotate/", grace_seconds=60)
    second = post(program, "r-1", url=f"{KEYS}{other.public_id}/rotate/", grace_seconds=60)
    assert (first.status_code, second.status_code) == (200, 422)
    assert "key" not in second.json() and other.secrets.count() == 1


def test_two_callers_do_not_share_keys(program, account):
    _, text = make_management_key(account, name="other", scopes=["keys:write"], actor=ACTOR)
    other = Client(headers={"Authorization": f"Bearer {text}"})
    assert post(program, "a-1", name="k").json()["id"] != post(other, "a-1", name="k").json()["id"]


def test_rotating_twice_with_one_key_rotates_once(program, issued):
    url = f"{KEYS}{issued.key.public_id}/rotate/"
    first, again = post(program, "r-1", url=url, grace_seconds=60), post(program, "r-1", url=url, grace_seconds=60)
    assert first.json() == again.json() and first.json()["key"] != issued.text
    assert issued.key.secrets.count() == 2


def test_a_kept_answer_contains_no_secret(program):
    text = post(program, "a-secret-of-the-client", name="k").json()["key"]
    kept = json.dumps(list(KeptAnswer.objects.values()), default=str)
    assert text[-44:-12] not in kept and "a-secret-of-the-client" not in kept


def test_a_refused_request_is_not_kept(program):
    assert post(program, "a-1", name="").status_code == 400
    assert post(program, "a-1", name="k", models=["xx"]).status_code == 400
    assert post(program, "a-1", name="k").status_code == 201


@pytest.mark.parametrize("bad", ["", "a,b", "x" * 256, f'"{"x" * 256}"', '""', "é", '"a', "a b"])
def test_an_invalid_header_is_refused_and_named(program, bad):
    response = post(program, None) if not bad else post(program, bad, name="k")
    expected = "Idempotency-Key" if bad else "name"
    assert response.status_code == 400 and response.json()["errors"][0]["field"] == expected


@pytest.mark.parametrize("longest", ["x" * 255, f'"{"x" * 255}"'])
def test_a_key_of_255_characters_is_taken(program, longest):
    assert post(program, longest, name="k").status_code == 201


def test_the_order_of_the_fields_makes_no_different_request(program):
    first = post(program, "a-1", name="k", methods=["GET"])
    again = post(program, "a-1", methods=["GET"], name="k")
    assert (again.status_code, again.json()) == (201, first.json())


def test_an_answer_under_an_old_pepper_is_repeated_and_one_under_a_retired_pepper_is_made_again(program, settings):
    text = post(program, "a-1", name="k").json()["key"]
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    assert post(program, "a-1", name="k").json()["key"] == text
    assert ApiKey.objects.count() == 1


def test_after_a_change_of_prefix_a_wrong_secret_is_never_shown(program, settings):
    post(program, "a-1", name="k")
    settings.KEY_PREFIX = "new"
    text = settings.KEY_PREFIX
    assert post(program, "a-1", name="k").status_code in (401, 409) and text == "new"


def test_a_repeated_answer_shows_whether_the_gate_knows_the_key_now(program, redis_away):
    with redis_away():
        first = post(program, "a-1", name="k")
        assert (first.status_code, first.json()["state"]) == (202, "pending")
        assert post(program, "a-1", name="k").status_code == 202
    OutboxRow.objects.all().delete()  # as the worker does after publishing it
    again = post(program, "a-1", name="k")
    assert again.status_code == 201 and again.json()["key"] == first.json()["key"] and "state" not in again.json()


def test_answers_are_kept_for_a_day(program):
    post(program, "a-1", name="k")
    assert sweep_kept_answers() == 0
    models_base(KeptAnswer).update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert sweep_kept_answers() == 1 and not KeptAnswer.objects.exists()


def test_a_failure_halfway_leaves_nothing_behind(program, monkeypatch):
    monkeypatch.setattr("api.keys.shown", lambda key: 1 / 0)
    assert post(program, "a-1", name="k").status_code == 500
    assert not KeptAnswer.objects.exists() and not ApiKey.objects.exists()
    monkeypatch.undo()
    assert post(program, "a-1", name="k").status_code == 201


def test_concurrent_requests_with_one_key_issue_one(program):
    def ask(_):
        try:
            return post(program, "a-1", name="k")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(40)))
    assert {answer.status_code for answer in answers} <= {201, 202, 409}  # 202: the first is still being published
    assert len({answer.json()["key"] for answer in answers if answer.status_code != 409}) == 1
    assert ApiKey.objects.count() == 1


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite lets one write at a time, whatever it writes")
def test_a_request_that_waits_too_long_for_the_first_is_told_to_try_again(program, monkeypatch):
    monkeypatch.setattr("api.base.idempotency.LONGEST_WAIT", "100ms")
    begun, may_end = Event(), Event()

    def slowly(key):
        begun.set()
        may_end.wait(60)
        return shown(key)

    def ask():
        try:
            return post(program, "a-1", name="k")
        finally:
            connection.close()

    monkeypatch.setattr("api.keys.shown", slowly)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask)
        assert begun.wait(60)
        second = ask()
        may_end.set()
        assert (second.status_code, second["Retry-After"]) == (409, "1")
        assert first.result(60).status_code == 201
    assert ApiKey.objects.count() == 1
