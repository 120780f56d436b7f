"""The worker's loop: it goes on after failures, says so once, and leaves in order. Its turns: tests/quotas/usage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from redis.exceptions import ConnectionError as RedisAway

from accounts.ledger_worker import Turn, Worker
from accounts.measured import Turns
from quotas.management.commands import keep_ledger
from runtime import replica
from runtime.commands import PENDING
from store import names
from store.condition import Condition

NAME = keep_ledger.log.name


@pytest.fixture
def _handlers_stay() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def keep(monkeypatch, _handlers_stay):
    """Let a worker take these turns, the last of which is interrupted by a signal. Returns what else happened."""

    def keep(*turns: Turn | Exception, number: int = signal.SIGTERM) -> list[str]:
        happened: list[str] = []
        left = list(turns)

        def turn() -> Turn:
            if len(left) == 1:
                signal.raise_signal(number)
            found = left.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        class Reports:
            def __init__(self, *_: Callable[[], Any]) -> None: ...

            def begin(self) -> None:
                happened.append("reports begin")

            def end(self) -> None:
                happened.append("reports end")

        monkeypatch.setattr(keep_ledger, "PAUSE_SECONDS", 0)
        monkeypatch.setattr(keep_ledger, "ReportsBeside", Reports)
        worker: Any = SimpleNamespace(
            turn=turn,
            deployment="ours",
            report=dict,
            postman=SimpleNamespace(leave=lambda: happened.append("postman leaves")),
        )
        keep_ledger._keep_turning(worker, Turns())
        assert left == []
        return happened

    return keep


def told(caplog) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == NAME]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_turn_that_it_is_in(keep, number):
    assert keep(Turn(), Turn(), number=number) == ["reports begin", "postman leaves", "reports end"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [RedisAway(), OperationalError("gone")])
def test_a_turn_that_fails_is_told_once_and_so_is_that_it_works_again(keep, caplog, error):
    with caplog.at_level("INFO"):
        keep(error, error, Turn(), Turn(), error, Turn())
    recovered = ("WARNING", f"recovered from {type(error).__name__}")
    first, then, second, last = [line for line in told(caplog) if line != ("INFO", "keeping the ledger")]
    for level, words in (first, second):  # which also tell whether there was a connection
        assert level == "ERROR" and words.endswith("Trying again until it works.")
    assert then == last == recovered


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [RedisAway(), OperationalError("gone")])
def test_after_a_failure_the_next_turn_has_a_new_connection(keep, error):
    """After a failover an old one may lead to a replica."""
    connection.ensure_connection()
    keep(error, Turn())
    assert connection.connection is None


def test_only_turns_that_did_something_are_logged(keep, caplog):
    with caplog.at_level("INFO"):
        keep(Turn(copied=3), Turn(published=1, copied=2), Turn())
    lines = [line for _, line in told(caplog)]
    assert lines == ["keeping the ledger", str(Turn(published=1, copied=2))]


def test_what_turns_did_is_counted(keep):
    counts = ["authsvc_published_parts changed", "authsvc_published_parts again", "authsvc_usage_copied"]
    before = [replica.totals()[name] for name in counts]
    keep(Turn(published=2, copied=5), Turn(republished=7))
    assert [replica.totals()[name] - old for name, old in zip(counts, before, strict=True)] == [2, 7, 5]


# With --once


@pytest.mark.django_db(transaction=True)
def test_once_takes_one_turn_and_sends_the_mails_that_are_due(catalogue, monkeypatch):
    done: list[str] = []

    def turn(_: Worker) -> Turn:
        done.append("turn")
        return Turn(copied=4)

    monkeypatch.setattr(Worker, "turn", turn)
    monkeypatch.setattr("accounts.notifications.postman.Postman.go", lambda _: done.append("mails"))
    out = StringIO()
    call_command("keep_ledger", once=True, stdout=out)
    assert done == ["turn", "mails"] and "copied usage of 4 key-hours" in out.getvalue()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [RedisAway(), OperationalError("gone")])
def test_once_fails_as_what_is_pending(catalogue, monkeypatch, error):
    def fail(_: Worker) -> Turn:
        raise error

    monkeypatch.setattr(Worker, "turn", fail)
    with pytest.raises(CommandError) as failed:
        call_command("keep_ledger", once=True, stdout=StringIO())
    assert failed.value.returncode == PENDING


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("why", ["evicts", "is another deployment's"])
@pytest.mark.parametrize("once", [False, True])
def test_a_redis_that_is_not_fit_ends_it_before_its_first_turn(catalogue, redis_db, monkeypatch, why, once):
    if why == "evicts":
        monkeypatch.setattr(keep_ledger, "conditions", lambda: [Condition("noeviction"), Condition("volatile-ttl")])
    else:
        redis_db.set(names.DEPLOYMENT, "theirs")
    monkeypatch.setattr(Worker, "turn", lambda _: pytest.fail("a turn"))
    monkeypatch.setattr(keep_ledger, "_keep_turning", lambda *_: pytest.fail("turns"))
    with pytest.raises(CommandError, match=r"volatile-ttl|another deployment"):
        call_command("keep_ledger", once=once, stdout=StringIO())
