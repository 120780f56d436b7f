"""Changing, rotating and finding keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.ledger_worker import Worker
from accounts.models import ApiKey, KeptAnswer, KeySecret
from accounts.services.keys import change_key, issue_key, pause_key, revoke_key, rotate_key
from quotas.limits import Limit
from tests.api.callers import member_of, post
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = "/api/v1/keys/"


@pytest.fixture
def url(issued):
    return f"{KEYS}{issued.key.public_id}/"


def ask_gate(text, method="GET"):
    ask = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": method, "X-Forwarded-For": "192.0.2.1"}
    return Client().get("/auth/", headers={**ask, "Authorization": f"Bearer {text}"}).status_code


def patch(client, url, **body):
    return client.patch(url, body, content_type="application/json")


def faults(response):
    return {error["field"]: error["detail"] for error in response.json().get("errors", ())}


def test_a_change_takes_effect_on_the_next_request_and_leaves_other_fields(program, url, issued):
    before = program.get(url).json()
    assert ask_gate(issued.text) == 200
    after = patch(program, url, methods=["POST"]).json()
    assert ask_gate(issued.text) == 403 and ask_gate(issued.text, "POST") == 200
    assert after == {**before, "methods": ["POST"]} == program.get(url).json()


def test_limits_replace_the_whole_list(program, url, issued):
    two = [Limit(name=window, scope="key", amount=9, window=window) for window in ("day", "month")]
    change_key(issued.key, limits=two, actor=ACTOR)
    left = patch(program, url, limits=[{"name": "day", "amount": 5, "window": "day"}]).json()["limits"]
    assert [(limit["name"], limit["amount"]) for limit in left] == [("day", 5)]
    assert (
        patch(program, url, name="other").json()["limits"] == left
        and patch(program, url, limits=[]).json()["limits"] == []
    )


def test_a_narrowed_key_is_widened_to_the_plan_with_null(program, url):
    assert patch(program, url, models=["sm"]).json()["models"] == ["sm"]
    assert patch(program, url, models=None, expires_at=None).json()["models"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"account": "x"}, "account"),
        ({"name": ""}, "name"),
        ({"models": ["xx"]}, "models"),
        ({"networks": ["x"]}, "networks"),
        ({"revoked_at": None}, "revoked_at"),
    ],
)
def test_an_invalid_change_is_refused_and_the_field_is_named(program, url, body, field):
    response = patch(program, url, **body)
    assert response.status_code == 400 and field in faults(response)


def test_both_secrets_work_until_the_rotation_is_ended(program, url, issued):
    rotated = post(program, f"{url}rotate/", grace_seconds=3600)
    new = rotated.json()["key"]
    assert rotated.status_code == 200 and rotated.json()["id"] == issued.key.public_id
    assert (ask_gate(issued.text), ask_gate(new)) == (200, 200)
    assert post(program, f"{url}end-rotation/").status_code == 200
    assert (ask_gate(issued.text), ask_gate(new)) == (401, 200)
    assert program.delete(url).status_code == 204 and ask_gate(new) == 401


def test_without_a_grace_the_old_secret_ends_at_once(program, url, issued):
    new = post(program, f"{url}rotate/", grace_seconds=0).json()["key"]
    assert (ask_gate(issued.text), ask_gate(new)) == (401, 200)


def test_a_rotation_without_a_body_has_a_grace_of_a_day(program, url, issued):
    assert program.generic("POST", f"{url}rotate/").status_code == 200
    ends = issued.key.secrets.exclude(expires_at=None).get().expires_at
    assert timedelta(hours=23) < ends - timezone.now() <= timedelta(days=1)


@pytest.mark.parametrize("grace", [-1, 7 * 86400 + 1, 1.5, "60", None])
def test_a_grace_is_a_whole_number_of_seconds_up_to_7_days(program, url, issued, grace):
    response = post(program, f"{url}rotate/", grace_seconds=grace)
    assert response.status_code == 400 and "grace_seconds" in faults(response) and issued.key.secrets.count() == 1


def test_a_revoked_key_cannot_be_rotated(program, url, issued):
    revoke_key(issued.key, actor=ACTOR)
    assert post(program, f"{url}rotate/").status_code == 409


def test_changes_are_pending_while_redis_is_down(program, url, redis_away):
    with redis_away():
        answers = [patch(program, url, name="n"), post(program, f"{url}rotate/"), post(program, f"{url}end-rotation/")]
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(202, "pending")] * 3


def test_a_key_is_paused_and_resumed_and_the_gate_knows_at_once(program, url, issued):
    for _ in range(2):
        for act, status, gate in (("pause", "paused", 401), ("resume", "active", 200)):
            answers = [post(program, f"{url}{act}/") for _ in range(2)]
            assert [(one.status_code, one.json()["status"]) for one in answers] == [(200, status)] * 2
            assert answers[0].json() == answers[1].json() and bool(answers[0].json()["paused_at"]) is (gate == 401)
            assert ask_gate(issued.text) == gate


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_a_revoked_key_can_be_neither_paused_nor_resumed(program, url, issued, act):
    revoke_key(issued.key, actor=ACTOR)
    response = post(program, f"{url}{act}/")
    assert response.status_code == 409 and "is revoked" in response.json()["detail"]


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_pausing_and_resuming_are_pending_while_redis_is_down(program, url, redis_away, act):
    with redis_away():
        answer = post(program, f"{url}{act}/")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")


def test_keys_are_filtered_by_status(program, account, issued):
    now = timezone.now()
    for name in ("paused", "expired", "revoked"):
        pause_key(issue_key(account, name=name, actor=ACTOR).key, actor=ACTOR)
    models_base(ApiKey).filter(name="expired").update(expires_at=now - timedelta(seconds=1))
    revoke_key(ApiKey.objects.get(name="revoked"), actor=ACTOR)
    for status, name in {"active": "first", "paused": "paused", "expired": "expired", "revoked": "revoked"}.items():
        found = program.get(KEYS, {"status": status}).json()["results"]
        assert [(key["name"], key["status"]) for key in found] == [(name, status)]
    assert program.get(KEYS, {"status": "off"}).status_code == 400


def test_keys_are_filtered_and_ordered(program, account, pro_key):
    now = timezone.now()
    for name in ("b", "a", "c"):
        issue_key(account, name=name, actor=ACTOR)
    revoke_key(ApiKey.objects.get(name="b"), actor=ACTOR)
    models_base(ApiKey).filter(name="c").update(expires_at=now - timedelta(seconds=1))

    def found(**query):
        response = program.get(KEYS, query)
        assert response.status_code == 200, response.content
        return [key["name"] for key in response.json()["results"]]

    assert (
        found() == ["c", "a", "b"]
        and found(order="name") == ["a", "b", "c"]
        and found(order="created") == ["b", "a", "c"]
    )
    assert found(revoked="true") == ["b"] and found(active="true") == ["a"] and found(active="false") == ["c", "b"]
    assert (
        found(name="A") == ["a"]
        and found(expires_before=now.isoformat()) == ["c"]
        and found(account=account.public_id) == ["c", "a", "b"]
    )


@pytest.mark.parametrize("query", [{"revoked": "1"}, {"expires_before": "soon"}, {"order": "start"}, {"nam": "x"}])
def test_an_invalid_filter_is_refused_and_named(program, query):
    response = program.get(KEYS, query)
    assert response.status_code == 400 and list(faults(response)) == list(query)


def test_a_key_was_last_used_when_any_of_its_secrets_was(program, url, issued):
    old = issued.key.secrets.get()
    rotate_key(issued.key, grace=timedelta(days=1), actor=ACTOR)
    uses = {old.pk: datetime(2026, 3, 2, tzinfo=UTC)}
    uses[issued.key.secrets.exclude(pk=old.pk).get().pk] = datetime(2026, 3, 1, tzinfo=UTC)
    for pk, moment in uses.items():
        models_base(KeySecret).filter(pk=pk).update(last_used_at=moment)
    assert program.get(url).json()["last_used_at"] == "2026-03-02T00:00:00Z"


def test_the_worker_deletes_kept_answers_after_a_day(program):
    post(program, KEYS, "once", name="k")
    models_base(KeptAnswer).update(created_at=timezone.now() - timedelta(days=2))
    Worker().turn()
    assert not KeptAnswer.objects.exists()


def test_under_asgi_the_pieces_of_an_export_form_one_document(account, on_a_loop):
    for number in range(450):  # several pieces
        models_base(ApiKey).create(account=account, public_id=f"{account.public_id}{number:08}", name="k")
    cookies = member_of(account, "owner").cookies

    async def fetch():
        client = AsyncClient()
        client.cookies = cookies
        response: Any = await client.get(f"/api/v1/accounts/{account.public_id}/export/")
        pieces = [piece async for piece in response]
        await sync_to_async(response.close)()
        return pieces

    pieces = on_a_loop(fetch())
    assert len(pieces) > 2 and len(json.loads(b"".join(pieces))["keys"]) == 450
