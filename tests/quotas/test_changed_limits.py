"""What was used of a smoothed limit stays used in calls, whatever happens to its amount, its burst and Redis's clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quotas.buckets import Mode, Tally
from quotas.limits import MOST_BURST, MOST_SMOOTHED, SECOND, SMOOTHED, Limit
from tests.quotas.conftest import StoppedRedis
from tests.quotas.slow_model import SlowBucket

PLAN = Limit(name="minute", scope="key", amount=60, window="minute", burst=10)
DAY_SECONDS = 86400


def passing(take, limit: Limit, **options) -> int:
    """How many calls pass before one is refused."""
    for count in range(10_000):
        if not take(limit, **options).granted:
            return count
    raise AssertionError("nothing was refused")


def changed(limit: Limit, amount: int, burst: int | None = None) -> Limit:
    return replace(limit, amount=amount, burst=amount if burst is None else burst)


# What goes wrong when a limit changes, one example each.


def test_a_narrower_limit_of_the_key_lets_no_more_calls_pass(take):
    limits = [PLAN, changed(PLAN, 6), changed(PLAN, 1), PLAN]
    assert [passing(take, limit) for limit in limits] == [10, 0, 0, 0]


def test_a_wait_comes_true_after_the_limit_was_narrowed(take, later):
    passing(take, PLAN)
    refused = take(changed(PLAN, 6))
    assert (refused.wait, refused.meters) == (10, (0, 60))
    later(refused.wait - 0.000001)
    assert not take(changed(PLAN, 6)).granted
    later(0.000001)
    assert take(changed(PLAN, 6)).granted


def test_a_wait_comes_true_back_on_the_plan(take, later):
    for limit in (PLAN, changed(PLAN, 6), changed(PLAN, 1)):
        passing(take, limit)
    assert take(PLAN).wait == 1
    later(1)
    assert take(PLAN).granted


def test_a_wait_comes_true_after_the_amount_alone_was_changed(take, later):
    passing(take, PLAN)
    slower = changed(PLAN, 6, 10)
    assert take(slower).wait == 10
    later(9)
    assert not take(slower).granted
    later(1)
    assert take(slower).granted


def test_an_upgrade_gives_its_room_at_once(take):
    hour = Limit(name="hour", scope="account", amount=60, window="hour")
    assert passing(take, hour) == 60
    assert passing(take, changed(hour, 600)) == 540


def test_a_downgrade_locks_out_for_one_call_not_for_all_that_was_used(take, later):
    hour = Limit(name="hour", scope="account", amount=600, window="hour")
    assert passing(take, hour) == 600
    refused = take(changed(hour, 60))
    assert refused.wait == 60
    later(60)
    assert passing(take, changed(hour, 60)) == 1


def test_what_a_narrower_limit_forgave_counts_again_under_the_wider_one(take, later):
    passing(take, PLAN)
    narrow = changed(PLAN, 6, 2)
    later(20)  # the debt drains at 60 a minute until the first call under the narrower limit
    passing(take, PLAN)
    assert take(narrow).wait == 10
    later(10)
    assert passing(take, narrow) == 1
    assert passing(take, PLAN) == 0


def test_going_to_and_fro_gains_nothing(take, later):
    narrow = changed(PLAN, 1)
    passed = 0
    for _ in range(50):
        passed += passing(take, PLAN) + passing(take, narrow)
        later(0.5)
    assert passed <= 10 + 25 * PLAN.amount / 60


def test_a_limit_that_stays_as_it_is_forgives_nothing_more(take, later):
    passing(take, PLAN)
    narrow = changed(PLAN, 6, 2)
    passed = passing(take, narrow)
    for _ in range(60):
        later(1)
        passed += passing(take, narrow)
    assert passed == 6


@pytest.mark.parametrize("before", [0, 0.25])
@pytest.mark.parametrize("seconds", [20, 21, 22.75, 45, 99, 1000])
def test_what_was_forgiven_drains_with_the_debt_and_makes_no_room_of_its_own(take, later, before, seconds):
    passing(take, PLAN)
    later(before)
    narrow = changed(PLAN, 6, 2)
    assert passing(take, narrow) == 0  # from here on all but two of the calls are forgiven
    later(seconds)
    assert passing(take, narrow) == 2
    assert take(narrow).wait == 10


@pytest.mark.parametrize("mode", ["take", "peek"])
def test_a_question_that_changes_nothing_writes_nothing(take, later, stopped, mode):
    passing(take, PLAN)
    before = stopped.bucket(PLAN)
    later(0.5)
    assert not take(PLAN, mode=mode).granted
    assert stopped.bucket(PLAN) == before


@pytest.mark.parametrize("calls", [10, 3])
def test_a_look_after_a_change_comes_true(take, later, calls):
    for _ in range(calls):
        take(PLAN)
    narrow = changed(PLAN, 6, 8)
    left, whole_in = take(narrow, mode="peek").meters
    assert (left, whole_in) == (8 - min(calls, 8), min(calls, 8) * 10)
    later(whole_in - 10)
    assert take(narrow, mode="peek").meters == (7, 10)
    later(10)
    assert take(narrow, mode="peek").meters == (8, 0)


def test_a_change_is_carried_over_even_if_a_different_limit_refuses(take, later):
    day = Limit(name="day", scope="account", amount=10, window="day")
    for _ in range(10):
        take(PLAN, day)
    narrow = changed(PLAN, 6, 2)
    assert take(narrow, day).meters[:2] == (0, 20)
    later(20)
    assert take(narrow, day).meters[:2] == (2, 0)


def test_a_change_is_carried_over_by_a_limit_in_shadow(take, later):
    passing(take, PLAN)
    narrow = changed(PLAN, 6, 2)
    assert take(replace(narrow, shadow=True)).granted
    later(10)  # at 60 a minute all of it would be back
    assert passing(take, narrow) == 1


def test_a_limit_that_leaves_the_shadow_has_its_burst_used_and_no_more(take):
    for _ in range(30):
        assert take(replace(PLAN, shadow=True)).granted
    assert take(PLAN).wait == 1


def test_a_dearer_model_finds_what_was_used(take, later):
    units = replace(PLAN, unit="units")
    assert passing(take, units, cost=3) == 3
    refused = take(units, cost=5)
    assert (refused.meters[0], refused.wait) == (1, 4)
    later(4)
    assert take(units, cost=5).granted


@pytest.mark.parametrize("seconds", [1, 600, 90 * DAY_SECONDS])
def test_a_clock_that_was_set_back_makes_no_wait_longer(take, later, seconds):
    passing(take, PLAN)
    later(-seconds)
    refused = take(PLAN)
    assert (refused.wait, refused.meters) == (1, (0, 10))
    later(1)
    assert take(PLAN).granted


def test_a_clock_that_was_set_back_gives_nothing(take, later):
    passing(take, PLAN)
    for _ in range(5):
        later(-0.5)
        assert not take(PLAN).granted
        later(0.5)
        assert not take(PLAN).granted
        later(0.5)
        assert take(PLAN).granted


def test_a_clock_that_jumped_ahead_and_came_back_locks_nobody_out(take, later):
    take(PLAN)
    later(365 * DAY_SECONDS)
    assert take(PLAN).meters == (9, 1)
    later(-365 * DAY_SECONDS)
    assert take(PLAN).meters == (8, 2)
    later(2)
    assert take(PLAN).meters == (9, 1)


def test_a_bucket_lives_until_all_that_was_used_has_drained(take, stopped):
    """Also what is forgiven: the wider limit must find it again."""
    passing(take, PLAN)
    passing(take, changed(PLAN, 6, 1))
    assert stopped.life(PLAN) == 101


# Any changes, against exact fractions.


amounts = st.integers(1, 12) | st.sampled_from([59, 999, 6000, 7919, MOST_SMOOTHED - 1, MOST_SMOOTHED])
bursts = st.integers(1, 12) | st.sampled_from([100, 999, MOST_BURST - 1, MOST_BURST])
costs = st.integers(1, 5) | st.sampled_from([97, 1000, MOST_BURST // 3, MOST_BURST])
leaps = st.integers(-3, 3_000_000) | st.integers(-(10**10), 10**10) | st.integers(-(10**15), 10**15)
steps = st.one_of(
    st.tuples(st.just("amount"), amounts),
    st.tuples(st.just("burst"), bursts),
    st.tuples(st.just("take"), costs),
    st.tuples(st.just("take"), st.just(1)),
    st.tuples(st.just("peek"), costs),
    st.tuples(st.just("shadow"), costs),
    st.tuples(st.just("clock"), leaps),
    st.tuples(st.just("wait"), costs),
)


@dataclass
class Course:
    """What was asked and what passed, for the bound over any stretch of it."""

    window: int
    taken: list[tuple[int, int, int, int]]  # time that has passed on Redis's clock, amount, burst, units that passed

    def check(self) -> None:
        """From any question to any later one: no more than the loosest limit of those between lets pass."""
        for first in range(len(self.taken)):
            amount = burst = passed = 0
            for passed_time, its_amount, its_burst, units in self.taken[first:]:
                amount, burst, passed = max(amount, its_amount), max(burst, its_burst), passed + units
                assert passed <= burst + Fraction(amount * (passed_time - self.taken[first][0]), self.window)


@given(window=st.sampled_from(list(SMOOTHED)), course=st.lists(steps, max_size=30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_over_any_changes_the_script_answers_as_exact_fractions_do(redis, window, course):
    for name in redis.scan_iter("*:g:*"):
        redis.delete(name)
    stopped = StoppedRedis(redis)
    limit = Limit(name="x", scope="key", amount=7, window=window, unit="units", burst=5)
    slow = SlowBucket(SMOOTHED[window])
    seen = Course(SMOOTHED[window], [])
    clock = 0

    def ask(cost: int, mode: Mode = "take") -> Tally:
        found, wanted = stopped.take(limit, cost=cost, mode=mode), slow.ask(stopped.now, limit, cost, mode == "take")
        assert isinstance(found, Tally)
        assert found == wanted
        assert found.wait <= ceil(Fraction(max(cost, limit.room) * slow.window, limit.amount * SECOND))
        took = cost if found.granted and mode == "take" else 0
        seen.taken.append((clock, limit.amount, limit.room, took))
        return found

    def move(microseconds: int) -> None:
        nonlocal clock
        stopped.now += microseconds
        clock += max(microseconds, 0)

    for kind, *values in course:
        if kind in ("amount", "burst"):
            limit = replace(limit, **{kind: values[0]})
        elif kind == "shadow":
            passed = stopped.take(replace(limit, shadow=True), cost=values[0])
            assert isinstance(passed, Tally) and (passed.granted, passed.meters) == (True, ())
            slow.ask(stopped.now, limit, values[0], takes=True)
        elif kind == "clock":
            move(values[0])
        elif kind == "wait":
            cost = min(values[0], limit.room)
            refused = ask(cost)
            if not refused.granted:
                move((refused.wait - 1) * SECOND)
                assert refused.wait == 0 or not ask(cost, "peek").granted
                move(SECOND)
                assert ask(cost).granted
        else:
            ask(values[0], kind)
    seen.check()
