"""Answers: prepared parts are renewed each hour, and headers say all that a limit has to say."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from accounts.facts.facts import AccountFacts, KeyFacts, SecretFacts
from accounts.facts.known import KnownKey
from authsvc.gate.answer import BROKEN, answer, head, rate_limit, written
from authsvc.gate.decision import Decision
from authsvc.gate.forwarded import request_id
from authsvc.gate.grounds import Grounds, charge_for
from authsvc.gate.verdict import Verdict
from quotas.buckets import Tally, clock
from quotas.facts import CatalogueFacts, ModelFacts, PlanFacts
from quotas.limits import Limit

MINUTE = Limit(name="minute", scope="key", amount=60, window="minute", burst=10)
MONTH = Limit(name="month", scope="account", amount=1000, window="month")
DAY = Limit(name="day", scope="key", amount=9, window="day")
MODEL = ModelFacts("sm", "/sm", 1, True)
ID = b"0" * 32


def grounds_of(*limits: Limit) -> Grounds:
    plan = PlanFacts("free", frozenset({"sm"}), limits)
    catalogue = CatalogueFacts(1, {"sm": MODEL}, {"free": plan}, False, {"/sm": (MODEL,)})
    secret = SecretFacts(1, b"", "", None)
    key = KeyFacts("A" * 16, 1, (secret,), None, (), frozenset(), (), None, False)
    known = KnownKey.of(key, AccountFacts("A" * 8, 1, "active", "free", 0, {}), catalogue)
    return Grounds(known, secret, MODEL, charge_for(known, MODEL, secret))


def refused(grounds: Grounds, *violated: int, wait: int = 7) -> dict[bytes, bytes]:
    names = [limit.name for limit in grounds.charge.shown]
    meters = tuple(number for _ in names for number in (0, 7))
    tally = Tally(False, meters, wait, tuple(violated))
    return dict(answer(Decision(Verdict.OVER_LIMIT, grounds=grounds, tally=tally), ID).headers)


@pytest.fixture
def at(monkeypatch):
    """`at(moment)`: sets the hour that we believe Redis is in."""

    def at(moment: datetime) -> None:
        hour = int(moment.timestamp()) // 3600
        monkeypatch.setattr(clock, "hour", lambda: hour)

    return at


@pytest.mark.parametrize(
    ("violated", "is_final"),
    [((0,), False), ((1,), True), ((0, 1), True), ((1, 2), True), ((0, 1, 2), True)],
)
def test_a_used_up_quota_tells_clients_not_to_retry_whatever_else_is_exceeded(violated, is_final):
    headers = refused(grounds_of(MINUTE, MONTH, DAY), *violated)
    assert (headers.get(b"x-should-retry") == b"false") is is_final
    assert headers[b"retry-after"] == b"7"


def test_a_limit_in_shadow_is_not_named_for_the_one_that_refused():
    shadow = Limit(name="shadow", scope="key", amount=1, window="day", shadow=True)
    decision = Decision(Verdict.OVER_LIMIT, grounds=grounds_of(shadow, MINUTE), tally=Tally(False, (0, 7), 7, (0,)))
    assert json.loads(answer(decision, ID).body)["violated-policies"] == ["minute"]


def test_what_is_answered_after_an_unexpected_error_lets_nothing_pass():
    head, body = BROKEN
    assert head.startswith(b"HTTP/1.1 500 ") and head.endswith(b"\r\ncontent-length: 0\r\n") and not body


def test_a_client_waits_a_second_at_least():
    assert refused(grounds_of(MINUTE), 0, wait=0)[b"retry-after"] == b"1"


def policy_of(ready: bytes) -> bytes:
    return next(line for line in ready.split(b"\r\n") if line.startswith(b"ratelimit-policy: ")).partition(b": ")[2]


def test_over_a_months_end_a_ready_answer_has_the_new_window(at):
    grounds, days = grounds_of(MONTH), 86400
    at(datetime(2026, 1, 31, 23, tzinfo=UTC))
    assert policy_of(head(grounds, (9, 1), ID)) == b'"month";q=1000;w=%d' % (31 * days)
    at(datetime(2026, 2, 1, tzinfo=UTC))
    assert policy_of(head(grounds, (9, 1), ID)) == b'"month";q=1000;w=%d' % (28 * days)


def test_over_a_months_end_the_headers_have_the_new_window(at):
    grounds, days = grounds_of(MONTH), 86400
    for month, length in ((1, 31), (2, 28), (3, 31)):
        at(datetime(2026, month, 3, tzinfo=UTC))
        assert dict(rate_limit(grounds, (9, 1)))[b"ratelimit-policy"] == b'"month";q=1000;w=%d' % (length * days)


def test_a_prepared_answer_and_an_assembled_one_are_the_same(at):
    at(datetime(2026, 2, 1, tzinfo=UTC))
    grounds = grounds_of(MINUTE, MONTH)
    for meters in ((9, 1, 998, 5), (0, 60, 3, 4)):
        tally = Tally(True, meters, 0, ())
        status, headers, body = answer(Decision(Verdict.ALLOWED, grounds=grounds, tally=tally), ID)
        ready = head(grounds, meters, ID).split(b"\r\n")
        assert (status, body, ready[0], ready[-1]) == (200, b"", b"HTTP/1.1 200 OK", b"")
        assert sorted(ready[1:-1]) == sorted(b"%b: %b" % header for header in headers)
    assert b"content-length: 0" in ready


@pytest.mark.parametrize("tally", [Tally(True, (9, 1), 0, ()), None], ids=["counted", "without redis"])
def test_a_websockets_offer_to_the_model_is_in_either_answer(tally):
    decision = Decision(Verdict.ALLOWED, grounds=grounds_of(MINUTE), tally=tally)
    assert b"sec-websocket-protocol" not in written(decision, ID)[0] + b"".join(dict(answer(decision, ID).headers))
    decision.protocols = b"chat, v2"
    assert dict(answer(decision, ID).headers)[b"sec-websocket-protocol"] == b"chat, v2"
    assert b"\r\nsec-websocket-protocol: chat, v2\r\n" in written(decision, ID)[0]


def test_an_answer_without_redis_promises_nothing_of_limits():
    decision = Decision(Verdict.ALLOWED, grounds=grounds_of(MINUTE))
    assert b"ratelimit" not in written(decision, ID)[0] + b"".join(dict(answer(decision, ID).headers))


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.ALLOWED])
def test_a_refusal_that_was_rendered_before_is_the_assembled_one(verdict):
    grounds = grounds_of(MINUTE)
    tally = Tally(False, (0, 7), 7, (0,)) if verdict is Verdict.OVER_LIMIT else None
    for identity in (ID, b"4bf92f3577b34da6a3ce929d0e0e4736", request_id({})):
        decision = Decision(verdict, grounds=grounds, tally=tally)
        status, headers, body = answer(decision, identity)
        ready, ready_body = written(decision, identity)
        line, *lines, last = ready.split(b"\r\n")
        assert (line.split()[1], last, ready_body) == (b"%d" % status, b"", body)
        assert lines == [b"%b: %b" % header for header in headers]
        assert dict(headers)[b"content-length"] == b"%d" % len(body)
        assert dict(headers)[b"cache-control"] == b"no-store"
        assert json.loads(body)["request_id"] == identity.decode()


def test_a_refusal_names_the_model_it_is_about():
    other = ModelFacts("50%_lg", "/lg", 1, True)
    for model in (MODEL, other):
        grounds = grounds_of()
        grounds.model = model
        head, _ = written(Decision(Verdict.MODEL_NOT_ALLOWED, grounds=grounds), ID)
        assert b'scope="model:%b"' % model.slug.encode() in head


def test_without_limits_a_ready_answer_has_no_header_of_theirs():
    assert b"ratelimit" not in head(grounds_of(), (), ID)
    assert rate_limit(grounds_of(), ()) == []


def test_a_header_of_a_limit_is_the_draft_s():
    headers = dict(rate_limit(grounds_of(MINUTE, DAY), (9, 1, 8, 600)))
    assert headers[b"ratelimit"] == b'"minute";r=9;t=1, "day";r=8;t=600'
    assert headers[b"ratelimit-policy"] == b'"minute";q=60;w=60, "day";q=9;w=86400'
