"""A paused key is off and not gone: refused from its next request on, and as it was before once it is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.ledger_worker import Worker
from accounts.models import ApiKey, AuditEvent, OutboxRow
from accounts.peppers import peppers
from accounts.refused import Refused
from accounts.services.accounts import cap_keys, suspend_account
from accounts.services.keys import change_key, issue_key, pause_key, resume_key, revoke_key, rotate_key
from accounts.services.outgrown import keys_made_by
from accounts.services.secrets import needed_peppers
from authsvc.gate.explain import Scenario, explain
from store import names
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401
from tests.gate.test_decision import left

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def words(monkeypatch) -> list[str]:
    """The word of each decision, as metrics and the log have it."""
    found: list[str] = []
    monkeypatch.setattr(
        "authsvc.gate.measure.Measured.note", lambda _, decision, __: found.append(decision.verdict.word)
    )
    return found


def facts_of(redis_db, key: ApiKey) -> dict[str, Any]:
    text = redis_db.hget(names.account(key.public_id[:8]), names.field(names.FACTS, key.public_id))
    facts: dict[str, Any] = json.loads(text)
    return facts


def acts() -> list[str]:
    rows = AuditEvent.objects.filter(act__in=("key.pause", "key.resume", "key.revoke")).order_by("id")
    return list(rows.values_list("act", flat=True))


def test_the_next_request_is_refused_and_after_resuming_the_next_one_passes(ask, issued, words):  # noqa: F811
    for _ in range(3):
        assert ask(issued.text).status == 200
        assert pause_key(issued.key, actor=ACTOR).published
        assert (ask(issued.text).status, words[-1]) == (401, "paused_key")
        assert resume_key(issued.key, actor=ACTOR).published
    assert ask(issued.text).status == 200


def test_it_is_refused_in_the_words_for_a_revoked_key(ask, account, issued):  # noqa: F811
    revoked = issue_key(account, name="revoked", actor=ACTOR)
    pause_key(issued.key, actor=ACTOR)
    revoke_key(revoked.key, actor=ACTOR)

    def answered(text: str) -> tuple[int, Any, dict[str, Any]]:
        answer = ask(text)
        body = json.loads(answer.body)
        return answer.status, dict(answer.headers)[b"www-authenticate"], {**body, "request_id": ""}

    assert answered(issued.text) == answered(revoked.text)


def test_it_keeps_what_was_used_and_nothing_is_taken_while_it_is_paused(ask, issued):  # noqa: F811
    before = left(ask(issued.text))[1]
    pause_key(issued.key, actor=ACTOR)
    for _ in range(5):
        ask(issued.text)
    resume_key(issued.key, actor=ACTOR)
    assert left(ask(issued.text))[1] == before - 1


def test_a_gate_from_before_keys_could_be_paused_takes_it_for_a_revoked_one(redis_db, issued):
    """Both versions run during an update, and the earlier one reads `revoked` alone."""
    before = facts_of(redis_db, issued.key)
    pause_key(issued.key, actor=ACTOR)
    assert facts_of(redis_db, issued.key)["revoked"] is True
    resume_key(issued.key, actor=ACTOR)
    assert {**facts_of(redis_db, issued.key), "version": 0} == {**before, "version": 0}


@pytest.mark.parametrize("act", [pause_key, resume_key])
def test_repeating_it_changes_and_records_nothing(issued, act):
    pause_key(issued.key, actor=ACTOR)
    act(issued.key, actor=ACTOR)
    moment = ApiKey.objects.get().paused_at
    act(issued.key, actor=ACTOR)
    assert ApiKey.objects.get().paused_at == moment
    assert acts() == (["key.pause"] if act is pause_key else ["key.pause", "key.resume"])


@pytest.mark.parametrize("act", [pause_key, resume_key])
def test_a_revoked_key_is_neither_paused_nor_resumed(issued, act):
    revoke_key(issued.key, actor=ACTOR)
    with pytest.raises(Refused, match="is revoked"):
        act(issued.key, actor=ACTOR)
    assert acts() == ["key.revoke"]


def test_what_resuming_would_not_undo_is_said_first(ask, issued, words):  # noqa: F811
    pause_key(issued.key, actor=ACTOR)
    suspend_account(issued.key.account, actor=ACTOR)
    ask(issued.text)
    change_key(issued.key, expires_at=timezone.now() - timedelta(hours=1), actor=ACTOR)
    ask(issued.text)
    assert (words[-2:], ApiKey.objects.get().state) == (["paused_key", "expired_key"], "expired")
    revoke_key(issued.key, actor=ACTOR)
    ask(issued.text)
    assert (words[-1], ApiKey.objects.get().state) == ("revoked_key", "revoked")


def test_a_wrong_secret_of_a_paused_key_is_a_wrong_secret(ask, issued, words):  # noqa: F811
    from accounts.keys import new_key

    pause_key(issued.key, actor=ACTOR)
    assert ask(new_key(issued.key.public_id, "ask", peppers()[0]).text).status == 401
    assert words[-1] == "wrong_secret"


def test_it_can_be_rotated_and_stays_paused(ask, issued):  # noqa: F811
    pause_key(issued.key, actor=ACTOR)
    new = rotate_key(issued.key, grace=timedelta(0), actor=ACTOR)
    assert ask(new.text).status == 401
    resume_key(issued.key, actor=ACTOR)
    assert (ask(issued.text).status, ask(new.text).status) == (401, 200)


def test_explain_names_the_pause_and_every_other_obstacle(issued, account):
    pause_key(issued.key, actor=ACTOR)
    suspend_account(account, actor=ACTOR)
    explanation = explain(Scenario(key_id=issued.key.public_id, model="sm"))
    refused = [check.name for check in explanation.checks if check.outcome == "refused"]
    assert (explanation.verdict.word, refused) == ("paused_key", ["paused_key", "account_suspended"])


def test_while_redis_is_away_it_is_pending_and_holds_as_soon_as_the_worker_has_delivered_it(
    ask,  # noqa: F811
    issued,
    redis_away,
):
    assert ask(issued.text).status == 200
    with redis_away():
        assert pause_key(issued.key, actor=ACTOR).is_pending
    assert OutboxRow.objects.count() == 1 and ask(issued.text).status == 200
    Worker().turn()
    assert not OutboxRow.objects.exists() and ask(issued.text).status == 401


def test_a_redis_that_lost_its_data_is_told_again(ask, issued, redis_db, words):  # noqa: F811
    pause_key(issued.key, actor=ACTOR)
    redis_db.flushdb()
    assert (ask(issued.text).status, words[-1]) == (401, "paused_key")
    redis_db.flushdb()
    Worker().turn()
    assert facts_of(redis_db, issued.key)["paused"] is True
    assert (ask(issued.text).status, words[-1]) == (401, "paused_key")


def test_the_worker_corrects_what_a_process_of_the_version_before_published(ask, issued, redis_db):  # noqa: F811
    pause_key(issued.key, actor=ACTOR)
    facts = {**facts_of(redis_db, issued.key), "revoked": False}
    del facts["paused"]
    field = names.field(names.FACTS, issued.key.public_id)
    redis_db.hset(names.account(issued.key.public_id[:8]), field, json.dumps(facts))
    Worker().turn()
    assert facts_of(redis_db, issued.key)["revoked"] and ask(issued.text).status == 401


RACES: dict[str, tuple[Callable[..., Any], ...]] = {
    "two pauses": (pause_key, pause_key),
    "a pause and a rename": (pause_key, partial(change_key, name="renamed")),
    "a pause and a rotation": (pause_key, partial(rotate_key, grace=timedelta(0))),
    "a pause and a revocation": (pause_key, revoke_key),
    "a pause and a resumption": (pause_key, resume_key),
}


@pytest.mark.parametrize("race", RACES)
def test_of_two_changes_at_once_neither_undoes_the_other(ask, account, race):  # noqa: F811
    for number in range(5):
        issued = issue_key(account, name=f"key {number}", actor=ACTOR)

        def run(act: Callable[..., Any], key=issued.key) -> Any:
            try:
                return act(ApiKey.objects.get(pk=key.pk), actor=ACTOR)
            except Refused as refusal:
                return refusal
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            done = list(threads.map(run, RACES[race]))
        key, gate = ApiKey.objects.get(pk=issued.key.pk), ask(issued.text).status
        match race:
            case "a pause and a revocation":
                assert (key.state, gate) == ("revoked", 401)
            case "a pause and a resumption":
                assert (key.state == "paused") is (gate == 401)
            case "a pause and a rename":
                assert (key.state, key.name, gate) == ("paused", "renamed", 401)
            case "a pause and a rotation":
                assert (key.state, ask(done[1].text).status) == ("paused", 401)
            case _:
                assert (key.state, gate) == ("paused", 401)
    if race == "two pauses":
        assert acts() == ["key.pause"] * 5


# Wherever somebody asks whether a key is active


def test_it_counts_as_one_of_the_accounts_keys(issued, account):
    cap_keys(account, 1, actor=ACTOR)
    pause_key(issued.key, actor=ACTOR)
    with pytest.raises(Refused, match="as many keys"):
        issue_key(account, name="one more", actor=ACTOR)
    resume_key(issued.key, actor=ACTOR)


def test_one_that_expired_counts_again_when_its_expiry_is_moved(issued, account):
    pause_key(issued.key, actor=ACTOR)
    models_base(ApiKey).filter(pk=issued.key.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    issue_key(account, name="in its place", actor=ACTOR)
    cap_keys(account, 1, actor=ACTOR)
    with pytest.raises(Refused, match="as many keys"):
        change_key(issued.key, expires_at=None, actor=ACTOR)


def test_its_pepper_is_still_needed(issued):
    pause_key(issued.key, actor=ACTOR)
    assert needed_peppers() == {peppers()[0].id: 1}


def test_one_that_a_leaving_member_made_is_among_what_they_leave(issued, operator):
    from accounts.models import User

    user = User.objects.get(username="olga")
    models_base(ApiKey).update(created_by=user)
    pause_key(issued.key, actor=ACTOR)
    assert [key.pk for key in keys_made_by(user, [], issued.key.account)] == [issued.key.pk]


def test_every_state_has_its_filter(account):
    now = timezone.now()
    keys = {name: issue_key(account, name=name, actor=ACTOR).key for name in ("active", "paused", "expired", "revoked")}
    for name in ("paused", "expired", "revoked"):
        pause_key(keys[name], actor=ACTOR)
    models_base(ApiKey).filter(name="expired").update(expires_at=now - timedelta(hours=1))
    revoke_key(keys["revoked"], actor=ACTOR)

    def named(rows) -> set[str]:
        return {key.name for key in rows}

    rows = ApiKey.objects.all()
    for state in keys:
        assert named(rows.in_state(state)) == {state} == {key.name for key in rows if key.state == state}  # type: ignore[arg-type]
    assert named(rows.living()) == {"active", "paused"} == {key.name for key in rows if key.is_living}
    assert named(rows.ended()) == {"expired", "revoked"} and named(rows.inactive()) == set(keys) - {"active"}
