"""How long a start waits for its stores, and what it says meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from django.db import OperationalError, connection

from runtime import waiting
from runtime.waiting import Away, wait_until, why_no_database, why_no_redis


@pytest.fixture
def clock(monkeypatch):
    """Time passes only while somebody sleeps."""
    now = [1000.0]
    monkeypatch.setattr(waiting, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def waited(reasons: Iterable[str | None], seconds: float) -> list[str]:
    said: list[str] = []
    left = iter(reasons)
    wait_until(lambda: next(left), seconds=seconds, say=said.append)
    return said


def test_who_need_not_wait_says_nothing(clock):
    assert waited([None], 60) == [] and clock[0] == 1000


def test_each_reason_is_said_when_it_is_new_and_again_after_ten_seconds(clock):
    said = waited(["one"] * 30 + ["two", None], 60)
    assert [line.split()[0] for line in said] == ["one", "one", "two"]
    assert said[0] == "one Waiting for up to 60 s more."


@pytest.mark.parametrize("seconds", [0, 3, 0.7])
def test_after_that_time_it_is_given_up_for_the_last_reason(clock, seconds):
    reasons = iter(["first"] + ["last"] * 1000) if seconds else iter(["last"] * 1000)
    with pytest.raises(Away, match="last"):
        wait_until(lambda: next(reasons), seconds=seconds, say=lambda _: None)
    assert clock[0] == pytest.approx(1000 + seconds)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_failed_is_not_used_again(monkeypatch):
    assert why_no_database() is None
    with monkeypatch.context() as broken:

        def fail(*_):
            raise OperationalError("the server closed the connection")

        broken.setattr(connection, "cursor", fail)
        assert "the server closed the connection" in str(why_no_database())
    assert connection.connection is None and why_no_database() is None


def test_a_redis_that_is_away_is_told_with_a_remedy(redis_db, redis_away):
    assert why_no_redis() is None
    with redis_away():
        assert str(why_no_redis()).endswith("start it, or correct REDIS_URL.")
