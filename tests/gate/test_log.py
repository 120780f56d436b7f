"""One line of JSON for each refusal, bounded, and never a secret."""

from __future__ import annotations

import json

import pytest

from authsvc.gate import log
from authsvc.gate.log import MOST_A_SECOND, DecisionLog

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lines(monkeypatch):
    """What is logged, as it would be written."""
    written: list[str] = []

    class Out:
        def write(self, text: str) -> None:
            written.extend(text.splitlines())

        def flush(self) -> None: ...

    monkeypatch.setattr(log, "_out", Out)
    monkeypatch.setattr(DecisionLog, "_start", lambda self: None)
    return written


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
    from authsvc.gate.app import close_gate

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


def test_more_than_a_hundred_a_second_are_counted_not_written(lines, monkeypatch):
    now = 100.0
    monkeypatch.setattr(log, "monotonic", lambda: now)
    decisions = DecisionLog()
    for number in range(MOST_A_SECOND + 50):
        decisions.write({"n": number})
    now = 101.0
    decisions.write({"n": "next"})
    decisions.flush()
    assert len(lines) == MOST_A_SECOND + 2
    assert json.loads(lines[-2]) == {"log": "decisions", "left_out": 50}


def test_a_reader_that_is_stuck_holds_nobody_up(monkeypatch, lines):
    seconds = iter(range(10_000))
    monkeypatch.setattr(log, "monotonic", lambda: next(seconds))
    decisions = DecisionLog()
    for number in range(5000):
        decisions.write({"n": number})  # nobody flushes
    assert len(decisions._lines) <= log.MOST_WAITING + 1
