"""How long a start waits for what it needs, and what it says meanwhile. With real processes: test_set_up.py."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from runtime import waiting
from runtime.waiting import PAUSE_SECONDS, REMIND_SECONDS, Away, wait_until, why_no_database, why_no_redis


class Clock:
    """Time that only passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(waiting, "monotonic", lambda: clock.now)
    monkeypatch.setattr(waiting, "sleep", clock.sleep)
    return clock


def reasons(*each: str | None) -> Callable[[], str | None]:
    """One after the other; the last one from then on."""
    left = list(each)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_what_answers_at_once_is_not_waited_for(clock):
    said: list[str] = []
    wait_until(lambda: None, seconds=0, say=said.append)
    assert (said, clock.pauses) == ([], [])


def test_a_wait_ends_as_soon_as_there_is_an_answer(clock):
    wait_until(reasons("No.", "No.", "No.", None), seconds=60, say=lambda _: None)
    assert clock.pauses == [PAUSE_SECONDS] * 3


def test_a_wait_ends_on_time_with_the_last_reason(clock):
    with pytest.raises(Away, match=r"^Still no\.$"):
        wait_until(reasons(*["No."] * 5, "Still no."), seconds=2.2, say=lambda _: None)
    assert clock.now == pytest.approx(1002.2)
    assert max(clock.pauses) == PAUSE_SECONDS


def test_a_wait_says_why_once_again_when_the_reason_changes_and_now_and_then(clock):
    said: list[tuple[float, str]] = []
    turns = round(2 / PAUSE_SECONDS)
    with pytest.raises(Away):
        wait_until(
            reasons(*["No name."] * turns, "No answer."),
            seconds=2 * REMIND_SECONDS + 5,
            say=lambda words: said.append((clock.now - 1000, words)),
        )
    assert said[:2] == [
        (0, "No name. Waiting for up to 25 s more."),
        (2, "No answer. Waiting for up to 23 s more."),
    ]
    assert [words.partition(" Waiting")[0] for _, words in said[2:]] == ["No answer."] * 2
    apart = [later - earlier for (earlier, _), (later, _) in pairwise(said[1:])]
    assert all(REMIND_SECONDS < seconds <= REMIND_SECONDS + PAUSE_SECONDS for seconds in apart)


@pytest.mark.django_db
def test_a_database_that_answers_is_not_waited_for():
    assert why_no_database() is None


@pytest.mark.django_db
def test_a_database_that_does_not_answer_gets_a_new_connection_each_time(monkeypatch):
    closed: list[bool] = []

    def fail() -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(waiting, "connection", SimpleNamespace(cursor=fail, close=lambda: closed.append(True)))
    for times in (1, 2):
        assert why_no_database()
        assert closed == [True] * times


def test_redis_is_away_until_it_answers(redis_db, redis_away):
    with redis_away():
        assert str(why_no_redis()).endswith("start it, or correct REDIS_URL.")
    assert why_no_redis() is None
