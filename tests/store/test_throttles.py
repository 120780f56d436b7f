"""lua/throttle.lua, through a real Redis."""

from __future__ import annotations

from dataclasses import replace
from time import time

import pytest

from store import names
from store.throttles import MICROSECONDS, Throttle

LOOKS = Throttle(name="looks", calls=3, seconds=3600, goes_on_without_redis=True)
KEY = names.throttle("looks", "ada")


@pytest.fixture
def later(redis_db):
    """Let time pass by moving the moment at which the throttle is empty; the test's own duration does not count."""

    def later(seconds: float) -> None:
        redis_db.set(KEY, int(redis_db.get(KEY)) - int(seconds * MICROSECONDS))

    return later


def test_so_many_calls_pass_at_once_and_then_one_by_one(later):
    assert [LOOKS.wait("ada") for _ in range(3)] == [0, 0, 0]
    assert 1190 < LOOKS.wait("ada") <= 1200
    later(1200)
    assert LOOKS.wait("ada") == 0
    assert LOOKS.wait("ada") > 0


def test_others_are_throttled_separately(redis_db):
    for _ in range(4):
        LOOKS.wait("ada")
    assert LOOKS.wait("bob") == 0


@pytest.mark.parametrize("ahead", [3601, 86400, 365 * 86400])
def test_filled_far_ahead_by_a_clock_that_jumped_it_waits_for_one_call_and_that_comes_true(redis_db, later, ahead):
    redis_db.set(KEY, int((time() + ahead) * MICROSECONDS))
    wait = LOOKS.wait("ada")
    assert 1190 < wait <= 1200
    later(wait)
    assert LOOKS.wait("ada") == 0
    assert LOOKS.wait("ada") > 0


def test_with_less_room_the_wait_comes_true(later):
    for _ in range(3):
        LOOKS.wait("ada")
    smaller = replace(LOOKS, seconds=60)
    wait = smaller.wait("ada")
    assert 0 < wait <= 20
    later(wait)
    assert smaller.wait("ada") == 0


def test_it_is_forgotten_a_second_after_it_is_empty(redis_db):
    LOOKS.wait("ada")
    assert 1190 < redis_db.ttl(KEY) <= 1201
    redis_db.set(KEY, int((time() + 86400) * MICROSECONDS))
    LOOKS.wait("ada")
    assert 3590 < redis_db.ttl(KEY) <= 3601
