"""`explain` agrees with the gate, shows what is left, takes nothing and repeats no secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.facts.lookup import Onlooker
from accounts.services.accounts import suspend_account
from accounts.services.keys import revoke_key, rotate_key
from authsvc.gate import explain as module
from authsvc.gate.app import Gate
from authsvc.gate.decision import RULES
from authsvc.gate.explain import (
    Explanation,
    LimitState,
    Scenario,
    Unanswered,
    explain,
    in_words,
    limit_in_words,
    look_at_limits,
)
from authsvc.gate.verdict import Verdict
from quotas.buckets import Stale, Tally, Unloaded, Versions, take
from quotas.limits import Limit
from store import names
from tests.conftest import ACTOR, CATALOGUE, import_one
from tests.gate.test_decision import left
from tests.gate.test_fronts import CASES, Case, keys  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)

ASKED = {"X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-For"}
PLACEHOLDER = {"good": "KEY", "none": ""}


def call_of(case: Case, texts: dict[str, str]) -> Scenario | None:
    """The case as a scenario; None for a case that only headers can express, such as a repeated header."""
    target, pairs = case.make(texts)
    path, _, query = target.partition("?")
    headers = dict(pairs)
    pins = [part for part in query.split("&") if part]
    if path != "/auth/" or len(headers) != len(pairs) or not set(headers) >= ASKED or len(pins) > 1:
        return None
    if (
        pins == ["model="]
        or ({"Authorization", "X-Api-Key"} <= set(headers) and "Basic" not in str(pairs))
        or not set(headers) <= ASKED | {"Authorization", "X-Api-Key"}
    ):
        return None
    scheme, _, credential = headers.get("Authorization", "").partition(" ")
    text = credential if scheme in ("Bearer", "Token") else headers.get("X-Api-Key", "")
    return Scenario(
        text=text,
        path=headers["X-Forwarded-Uri"],
        method=headers["X-Forwarded-Method"],
        address=headers["X-Forwarded-For"],
        model=pins[0].removeprefix("model=") if pins else "",
    )


class _AnyText(dict[str, str]):
    def get(self, name, default=None):
        return name

    def __getitem__(self, name):
        return name


EXPRESSIBLE = [name for name, case in CASES.items() if call_of(case, _AnyText()) is not None]
OF_OUR_OWN = {
    "a path beyond ASCII": (Verdict.UNCLEAN_PATH, Scenario(text="x", path="/sm/€x")),
    "a query beyond ASCII": (Verdict.UNCLEAN_QUERY, Scenario(text="x", path="/sm/x?q=€")),
    "several keys": (Verdict.SEVERAL_KEYS, Scenario(text="one,two", path="/sm/x")),
    "no address": (Verdict.NOT_FORWARDED, Scenario(text="x", path="/sm/x", address="nowhere")),
}


def contents(client) -> dict[str, Any]:
    """Everything in Redis."""
    strings, hashes, sets = (list(client.scan_iter(count=5000, _type=kind)) for kind in ("string", "hash", "set"))
    assert len(strings) + len(hashes) + len(sets) == client.dbsize()
    with client.pipeline(transaction=False) as pipe:  # at once: some of them live for a minute
        for name in strings:
            pipe.eval("return redis.sha1hex(redis.call('GET', KEYS[1]))", 1, name)
        found = dict(zip(strings, pipe.execute(), strict=True))
    return found | {name: client.hgetall(name) for name in hashes} | {name: client.smembers(name) for name in sets}


def words(explanation: Explanation) -> dict[str, str]:
    return {check.name: check.outcome for check in explanation.checks}


def test_every_verdict_is_explained():
    shown = {CASES[name].verdict for name in EXPRESSIBLE} | {verdict for verdict, _ in OF_OUR_OWN.values()}
    assert shown == set(Verdict) - {Verdict.CANNOT_DECIDE}


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_explain_agrees_with_the_gate_and_takes_nothing(name, keys, ask, redis_db):  # noqa: F811
    case = CASES[name]
    if case.verdict is Verdict.OVER_LIMIT:
        assert ask(keys["spent"]).status == 200
    call = call_of(case, keys)
    assert call is not None
    before = contents(redis_db)
    explanation = explain(call)
    assert contents(redis_db) == before
    assert explanation.verdict is case.verdict
    refused = [check.name for check in explanation.checks if check.outcome == "refused"]
    if case.verdict is Verdict.ALLOWED:
        assert refused == []
    else:
        first = {check.name: check.why or check.name for check in explanation.checks}[refused[0]]
        assert first == case.verdict.word
    if len(call.text) > 20:
        assert call.text not in repr(explanation) + repr(call)


@pytest.mark.parametrize("name", OF_OUR_OWN)
def test_scenarios_that_no_headers_can_express(name, catalogue):
    verdict, call = OF_OUR_OWN[name]
    assert explain(call).verdict is verdict


def test_the_checks_are_always_the_same_in_the_order_of_the_gate(issued):
    order = ["forwarded_request", "presented_key", *(rule.verdict.word for rule in RULES), "over_limit"]
    for call in (Scenario(text=issued.text, model="sm"), Scenario(text="junk", model="sm"), Scenario(path="//")):
        assert [check.name for check in explain(call).checks] == order


def test_every_obstacle_is_explained_at_once(issued, account):
    revoke_key(issued.key, actor=ACTOR)
    suspend_account(account, actor=ACTOR)
    explanation = explain(Scenario(key_id=issued.key.public_id, model="lg"))
    assert explanation.verdict is Verdict.REVOKED_KEY
    refused = {name for name, outcome in words(explanation).items() if outcome == "refused"}
    assert refused == {"revoked_key", "account_suspended", "model_not_allowed"}


def test_what_needs_a_model_is_not_asked_without_one(issued):
    outcomes = words(explain(Scenario(key_id=issued.key.public_id, path="/other/x")))
    assert outcomes["unknown_model"] == "refused"
    assert {outcomes[name] for name in ("pin_mismatch", "model_not_allowed", "over_limit")} == {"not_asked"}


def test_a_key_is_explained_by_its_id_as_by_its_string(issued):
    by_id = explain(Scenario(key_id=issued.key.public_id, model="sm"))
    assert by_id.verdict is Verdict.ALLOWED
    assert (by_id.checks, by_id.headers) == (explain(Scenario(text=issued.text, model="sm")).checks, by_id.headers)
    rotate_key(issued.key, grace=timedelta(0), actor=ACTOR)
    assert explain(Scenario(key_id=issued.key.public_id, model="sm")).verdict is Verdict.ALLOWED
    assert explain(Scenario(text=issued.text, model="sm")).verdict is Verdict.EXPIRED_KEY


def test_an_unknown_id_and_no_key_at_all(catalogue):
    assert explain(Scenario(key_id="Z" * 16, model="sm")).verdict is Verdict.UNKNOWN_KEY
    assert explain(Scenario(model="sm")).verdict is Verdict.NO_KEY


def test_what_is_left_is_what_the_gate_last_answered(ask, issued):
    for number in range(3):
        answered = ask(issued.text)
        explanation = explain(Scenario(key_id=issued.key.public_id, model="sm"))
        assert [state.left for state in explanation.limits] == left(answered) == [9 - number, 999 - number]
        headers = {name.decode(): value.decode() for name, value in answered.headers}
        assert explanation.headers["ratelimit-policy"] == headers["ratelimit-policy"]


def test_over_a_limit_it_names_the_limit_and_the_wait(ask, issued):
    for _ in range(10):
        ask(issued.text)
    explanation = explain(Scenario(key_id=issued.key.public_id, model="sm"))
    assert explanation.verdict is Verdict.OVER_LIMIT
    assert [state.limit.name for state in explanation.limits if state.refuses] == ["minute"]
    assert 0 < explanation.wait <= 6


def test_limits_are_waited_for_whatever_else_refuses(ask, issued, account):
    for _ in range(10):
        ask(issued.text)
    suspend_account(account, actor=ACTOR)
    explanation = explain(Scenario(key_id=issued.key.public_id, model="sm"))
    assert (explanation.verdict, 0 < explanation.wait <= 6) == (Verdict.ACCOUNT_SUSPENDED, True)


def test_an_emptied_redis_is_filled_as_the_gate_would(ask, issued, redis_db):
    redis_db.flushdb()
    assert [state.left for state in explain(Scenario(key_id=issued.key.public_id, model="sm")).limits] == [10, 1000]
    assert list(redis_db.scan_iter("*:g:*")) + list(redis_db.scan_iter("*:u:*")) == []


def test_without_redis_explain_cannot_decide(issued, settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"
    assert explain(Scenario(key_id=issued.key.public_id, model="sm")).verdict is Verdict.CANNOT_DECIDE


def test_an_unknown_key_leaves_no_mark(issued, redis_db):
    explain(Scenario(key_id="Z" * 16, model="sm"))
    assert list(redis_db.scan_iter(names.unknown("*")[:1] + "*:unknown:*")) == []


@pytest.fixture
def imported(account, settings) -> str:
    settings.IMPORTED_KEYS = True
    return import_one(account, "sk-of-another-system-0123456789").text


def test_an_imported_key_is_explained_too(imported):
    assert explain(Scenario(text=imported, model="sm")).verdict is Verdict.ALLOWED


def test_limits_are_the_gates_own_numbers(ask, issued):
    answered = ask(issued.text)
    look = look_at_limits(issued.key.public_id, "sm")
    assert look is not None
    assert list(look[2].meters[::2]) == left(answered)
    assert look_at_limits(issued.key.public_id, "nothing") is None
    assert look_at_limits("Z" * 16, "sm") is None


def test_a_disabled_model_has_no_limits_to_look_at(issued, catalogue):
    assert look_at_limits(issued.key.public_id, "sm") is not None
    catalogue(CATALOGUE.replace('title = "small"', "enabled = false"))
    assert look_at_limits(issued.key.public_id, "sm") is None


@pytest.mark.parametrize(
    ("window", "burst", "told"), [("minute", None, 60), ("minute", 5, 5), ("day", None, None)], ids=str
)
def test_the_burst_that_is_told_is_the_one_in_force(window, burst, told):
    limit = Limit(name="x", scope="key", amount=60, window=window, burst=burst)
    assert limit_in_words(LimitState(limit, 1, 1, False))["burst"] == told


@pytest.mark.parametrize(("status", "verdict"), [(403, Verdict.OVER_LIMIT), (401, Verdict.UNKNOWN_KEY)], ids=str)
def test_the_status_that_is_told_is_the_one_that_clients_get(settings, status, verdict):
    settings.OVER_LIMIT_STATUS = 403
    assert in_words(Explanation(verdict, (), (), None, "sm", "", {}, 1))["status"] == status


LOOKS: dict[str, Callable[[str], object]] = {
    "explain": lambda key_id: explain(Scenario(key_id=key_id, model="sm")),
    "limits": lambda key_id: look_at_limits(key_id, "sm"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_closes_what_it_has_opened(issued, redis_db, monkeypatch, look):
    closed: list[Gate] = []
    close = Gate.close

    async def note(gate: Gate) -> None:
        await close(gate)
        closed.append(gate)

    monkeypatch.setattr(Gate, "close", note)
    for number, key_id in enumerate((issued.key.public_id, "Z" * 16)):
        LOOKS[look](key_id)
        assert len(closed) == number + 1


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_that_takes_too_long_is_given_up(issued, monkeypatch, look):
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(Onlooker, "find", hang)
    monkeypatch.setattr(Onlooker, "learn_catalogue", hang)
    if look == "limits":
        with pytest.raises(Unanswered):
            LOOKS[look](issued.key.public_id)
    else:
        assert explain(Scenario(key_id=issued.key.public_id, model="sm")).verdict is Verdict.CANNOT_DECIDE


def test_a_look_with_facts_that_are_out_of_date_renews_them(issued, monkeypatch):
    answers: list[Stale | Unloaded] = [Unloaded(), Stale(Versions(0, 0, 0))]

    async def out_of_date_at_first(*asked: Any) -> Tally | Stale | Unloaded:
        return answers.pop() if answers else await take(*asked)

    monkeypatch.setattr(module, "take", out_of_date_at_first)
    look = look_at_limits(issued.key.public_id, "sm")
    assert look is not None and look[2].granted


def said(*args: str, stdin: str = "", monkeypatch=None) -> tuple[str, int]:
    out = StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr("sys.stdin", StringIO(stdin))
    try:
        call_command("explain", *args, stdout=out)
    except SystemExit as end:
        return out.getvalue(), int(end.code or 0)
    return out.getvalue(), 0


def test_the_command_prints_every_check_and_says_by_its_status_whether_it_would_pass(issued, monkeypatch):
    text, status = said(issued.key.public_id, "--model", "sm")
    assert status == 0
    assert "minute: 10 of 10 requests left" in text
    assert text.splitlines()[-1] == "allowed: 200"
    text, status = said("-", "--model", "lg", stdin=issued.text + "\n", monkeypatch=monkeypatch)
    assert (status, "  NO  model_not_allowed" in text) == (1, True)
    assert issued.text not in text
    assert json.loads(said(issued.key.public_id, "--path", "/sm/x", "--json")[0])["verdict"] == "allowed"


def test_the_command_refuses_a_key_where_others_can_read_it(issued):
    with pytest.raises(CommandError, match="stdin") as refusal:
        said(issued.text, "--model", "sm")
    assert issued.text not in str(refusal.value)
    with pytest.raises(CommandError, match="--model or --path"):
        said(issued.key.public_id)
