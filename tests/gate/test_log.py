"""One line of JSON for each refusal, bounded, and never a secret."""

from __future__ import annotations

import json
from contextlib import suppress
from threading import Thread
from unittest.mock import Mock

import pytest

from authsvc.gate import decision, log
from authsvc.gate.app import close_gate
from authsvc.gate.log import MOST_A_SECOND, DecisionLog
from quotas.buckets import Stale, Versions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lines(monkeypatch):
    """The log lines, as they would be written."""
    written: list[str] = []

    class Out:
        def write(self, text: str) -> None:
            written.extend(text.splitlines())

        def flush(self) -> None: ...

    monkeypatch.setattr(log, "_out", Out)
    monkeypatch.setattr(DecisionLog, "_start", lambda self: None)
    return written


def put(decisions: DecisionLog, line: dict[str, object], *, is_refusal: bool = True) -> None:
    """As the gate does."""
    if decisions.has_room(is_refusal=is_refusal):
        decisions.write(line, is_refusal=is_refusal)


def flush() -> None:
    from authsvc.gate import app

    for gate in app._gates.values():
        gate._log.flush()


def test_a_refusal_is_one_line_with_what_an_operator_asks_for(ask, issued, lines):
    assert ask(issued.text, x_forwarded_uri="/v1/large/x?secret=1", query="model=lg").status == 403
    flush()
    (line,) = map(json.loads, lines)
    assert line.pop("ms") >= 0
    assert len(line.pop("request_id")) == 32
    assert line == {
        "log": "decision",
        "verdict": "model_not_allowed",
        "key": issued.key.public_id,
        "account": issued.key.public_id[:8],
        "model": "lg",
        "method": "POST",
        "path": "/v1/large/x",
        "client": "203.0.113.7",
    }


def test_permits_are_logged_only_where_all_are_wanted(ask, issued, lines, settings, on_a_loop):
    ask(issued.text)
    flush()
    assert lines == []
    settings.LOG_DECISIONS = "all"
    on_a_loop(close_gate())
    ask(issued.text)
    flush()
    assert json.loads(lines[0])["verdict"] == "allowed"


@pytest.mark.parametrize("change", [{"x_forwarded_uri": "/sm/%2e?key=K"}, {"x_forwarded_method": "FOO"}, {}])
def test_no_line_has_a_key_a_secret_or_a_query(ask, issued, lines, change):
    for text in (issued.text, issued.text[:-1] + "_", issued.text[:-3]):
        ask(text, **{name: value.replace("K", issued.text) for name, value in change.items()})
    ask(None, authorization=f"Basic {issued.text}", x_forwarded_uri=f"/sm/..?{issued.text}")
    flush()
    assert lines or not change
    assert not any(issued.text[21:40] in line for line in lines)


def test_a_query_that_is_no_pin_is_logged_as_an_error_once_and_as_a_reason_each_time(ask, issued, lines, caplog):
    for query in ("MODEL=sm", "MODEL=sm", "a=b&model=sm"):
        assert ask(issued.text, query=query).status == 403
    flush()
    assert ["?model=NAME" in json.loads(line)["why"] for line in lines] == [True] * 3
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2 and "'MODEL=sm'" in errors[0] and "'a=b&model=sm'" in errors[1]


def test_no_number_of_queries_fills_the_log_with_errors(ask, issued, lines, caplog):
    for number in range(40):
        ask(issued.text, query=f"x={number}")
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 16


def test_another_models_path_is_no_fault_of_the_deployment(ask, issued, lines, caplog):
    assert ask(issued.text, query="model=lg").status == 403
    assert not caplog.records


def test_more_than_a_hundred_a_second_are_counted_not_written(lines, monkeypatch):
    now = 100.0
    monkeypatch.setattr(log, "monotonic", lambda: now)
    decisions = DecisionLog()
    for number in range(MOST_A_SECOND + 50):
        put(decisions, {"n": number})
    now = 101.0
    put(decisions, {"n": "next"})
    decisions.flush()
    assert len(lines) == MOST_A_SECOND + 2
    assert json.loads(lines[-2]) == {"log": "decisions", "left_out": 50}
    now = 102.0
    put(decisions, {"n": "quiet again"})
    decisions.flush()
    assert len(lines) == MOST_A_SECOND + 3 and json.loads(lines[-1]) == {"n": "quiet again"}


def test_a_flood_of_refusals_makes_no_lines_that_are_left_out(ask, issued, lines, monkeypatch):
    from authsvc.gate import app

    made = Mock(wraps=app.line_of)
    monkeypatch.setattr(app, "line_of", made)
    monkeypatch.setattr(log, "monotonic", lambda: 100.0)
    for _ in range(MOST_A_SECOND + 20):
        assert ask(None).status == 401
    flush()
    assert len(lines) == made.call_count == MOST_A_SECOND


def test_a_query_that_is_no_pin_is_an_error_even_where_the_log_is_full(ask, issued, lines, monkeypatch, caplog):
    monkeypatch.setattr(log, "monotonic", lambda: 100.0)
    for _ in range(MOST_A_SECOND):
        ask(None)
    ask(issued.text, query="MODEL=sm")
    assert "'MODEL=sm'" in caplog.text


class Enough(Exception):
    pass


def test_a_line_that_comes_while_others_are_written_is_written_too(monkeypatch):
    decisions, flushes = DecisionLog(), 0

    def flush() -> None:
        nonlocal flushes
        flushes += 1
        if flushes == 2:
            raise Enough
        decisions._put({"n": "meanwhile"})

    monkeypatch.setattr(decisions, "flush", flush)
    monkeypatch.setattr(decisions, "_start", lambda: None)
    decisions._put({"n": "first"})

    def run() -> None:
        with suppress(Enough):
            decisions._run()

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert flushes == 2


def test_a_gate_that_ends_writes_the_lines_that_wait(ask, lines, on_a_loop):
    assert ask(None).status == 401
    assert not lines
    on_a_loop(close_gate())
    assert json.loads(lines[0])["verdict"] == "no_key"


def test_what_a_stranger_sends_takes_little_room_in_the_log(ask, issued, lines):
    ask(issued.text, x_forwarded_uri="/other/" + "x" * 2000)
    ask(issued.text, x_forwarded_uri="//" + "x" * 2000)
    ask(issued.text, x_forwarded_method="M" * 200)
    ask(issued.text, x_forwarded_for="x" * 200)
    flush()
    found = [json.loads(line) for line in lines]
    assert [len(line["path"]) for line in found[:2]] == [512, 512]
    assert len(found[2]["method"]) == 32
    assert len(found[3]["client"]) == 64


def test_a_decision_that_could_not_be_made_names_the_key_if_it_is_known(ask, issued, lines, monkeypatch):
    async def stale(*_: object) -> Stale:
        return Stale(Versions(0, 0, 0))

    monkeypatch.setattr(decision, "take", stale)
    assert ask(issued.text).status == 503
    flush()
    line = json.loads(lines[0])
    assert (line["verdict"], line["key"]) == ("cannot_decide", issued.key.public_id)
    assert line["why"] == "the facts changed faster than they could be read"


def test_a_stuck_log_reader_delays_nobody(monkeypatch, lines):
    seconds = iter(range(10_000))
    monkeypatch.setattr(log, "monotonic", lambda: next(seconds))
    decisions = DecisionLog()
    for number in range(5000):
        put(decisions, {"n": number})  # nobody flushes
    assert len(decisions._lines) <= log.MOST_WAITING + 1


def test_a_share_of_the_allowed_calls_is_logged_and_every_refusal(ask, issued, lines, settings, on_a_loop, monkeypatch):
    from authsvc.gate import app

    settings.LOG_DECISIONS, settings.LOG_SAMPLE = "all", 0.25
    on_a_loop(app.close_gate())
    drawn = iter([0.1, 0.25, 0.9, 0.2])
    monkeypatch.setattr(app, "random", lambda: next(drawn))
    for _ in range(4):
        ask(issued.text)
        ask(None)
    flush()
    found = [json.loads(line) for line in lines]
    assert [line["verdict"] for line in found] == [
        "allowed",
        *["no_key"] * 3,
        "allowed",
        "no_key",
    ]
    assert {line.get("share") for line in found if line["verdict"] == "allowed"} == {0.25}
    assert not any("share" in line for line in found if line["verdict"] == "no_key")


def test_allowed_calls_are_all_written_and_take_no_room_from_refusals(lines, monkeypatch):
    monkeypatch.setattr(log, "monotonic", lambda: 100.0)
    decisions = DecisionLog()
    for number in range(log.MOST_WAITING):
        put(decisions, {"n": number}, is_refusal=False)
    put(decisions, {"refused": 1})
    decisions.flush()
    assert len(lines) == log.MOST_ALLOWED_WAITING + 1 and json.loads(lines[-1]) == {"refused": 1}
    assert decisions.left_out == log.MOST_WAITING - log.MOST_ALLOWED_WAITING


def test_a_refusal_has_one_id_in_its_line_its_header_and_its_body(ask, issued, lines):
    answer = ask(None, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    flush()
    ids = {
        json.loads(lines[0])["request_id"],
        json.loads(answer.body)["request_id"],
        dict(answer.headers)[b"x-request-id"].decode(),
    }
    assert ids == {"4bf92f3577b34da6a3ce929d0e0e4736"}
