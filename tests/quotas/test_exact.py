"""The script against a slow model of it, for any limits, costs, clocks and changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from struct import pack, unpack

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from quotas.buckets import HOUR, Charge, Tally, Unloaded
from quotas.limits import MOST_SMOOTHED, SECOND, SMOOTHED, Limit, calendar_window
from tests.quotas.conftest import HASH, KEY, ONES, StoppedRedis, name_of
from tests.quotas.slow_model import SlowGate

POOL = (
    Limit(name="second", scope="key", amount=3, window="second", burst=2),
    Limit(name="minute", scope="account", amount=7, window="minute", unit="units", burst=5),
    Limit(name="hour", scope="key", amount=11, window="hour", unit="units"),
    Limit(name="day", scope="account", amount=4, window="day"),
    Limit(name="month", scope="key", amount=13, window="month", unit="units"),
    Limit(name="tried out", scope="account", amount=2, window="month", unit="units", shadow=True),
    Limit(name="also tried out", scope="account", amount=2, window="hour", shadow=True),
)
MIDNIGHTS = [
    datetime(*day, tzinfo=UTC) for day in [(2026, 12, 1), (2027, 1, 1), (2028, 2, 29), (2028, 3, 1), (2100, 3, 1)]
]

amounts = st.integers(1, 9) | st.sampled_from([59, 999_983, MOST_SMOOTHED - 1, MOST_SMOOTHED])
leaps = (
    st.integers(0, 3_000_000)
    | st.integers(0, 3 * 3600 * SECOND)
    | st.integers(-3600 * SECOND, 0)
    | st.integers(-(10**13), 10**13)
)
forward = st.integers(0, 3_000_000) | st.integers(0, 200 * SECOND) | st.integers(0, 3 * 3600 * SECOND)
others = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from([1, 1, 1, 2, 5, 333_333, MOST_SMOOTHED])),
    st.tuples(st.just("look"), st.integers(1, 3)),
    st.tuples(st.just("wait"), st.integers(1, 3)),
    st.tuples(st.just("amount"), st.integers(0, 6), amounts),
    st.tuples(st.just("burst"), st.integers(0, 6), amounts),
    st.tuples(st.just("edge"), st.sampled_from(["hour", "day", "month"]), st.integers(-1, 1)),
    st.tuples(st.just("wrong_clock"), st.sampled_from([-1, 1, 24])),
)


def courses(leaps):
    return st.tuples(
        st.sampled_from(MIDNIGHTS),
        st.integers(-3, 3) | st.integers(-40 * 86400 * SECOND, 0),
        st.sets(st.integers(0, len(POOL) - 1), min_size=1, max_size=4),
        st.lists(others | st.tuples(st.just("leap"), leaps), max_size=25),
    )


class Course:
    """Limits in force, the script's answers and the model's, which have to be the same."""

    def __init__(self, redis, begin: int, limits: list[Limit], *, expires: bool = False) -> None:
        for name in redis.scan_iter("*:g:*"):
            redis.delete(name)
        self.expires = expires  # whether buckets do, or time stands still for them
        for field in [name for name in redis.hkeys(HASH) if name[:2] in ("n:", "w:")]:
            redis.hdel(HASH, field)
        self.stopped, self.model, self.limits = StoppedRedis(redis), SlowGate(), limits
        self.stopped.now = begin

    def ask(self, cost: int, mode: str = "take") -> Tally | Unloaded:
        if self.expires:
            self.stopped.expire()
        wanted = self.model.ask(self.stopped.now, self.limits, cost, takes=mode == "take")
        found = self.stopped.take(*self.limits, cost=cost, mode=mode)
        assert found == wanted
        if isinstance(found, Tally):
            assert all(left >= 0 for left in found.meters[::2])
            assert found.granted == (not found.violated) and bool(found.wait) == bool(found.violated)
        self.check_expiry()
        return found

    def check_expiry(self) -> None:
        """No bucket expires before a second after it has drained, and none lives on much longer."""
        for limit in filter(lambda limit: limit.is_smoothed, self.limits):
            bucket = self.stopped.bucket(limit)
            if bucket:
                drained_at = bucket.at + Fraction(bucket.debt, bucket.amount)
                latest = max(drained_at + 2 * SECOND, Fraction(bucket.at + 121 * SECOND))
                assert drained_at + SECOND - 1000 <= self.stopped.expires_at(limit) <= latest

    def look(self, cost: int) -> None:
        self.ask(cost, "peek")

    def wait(self, cost: int) -> None:
        """Refused to the last microsecond, and not one longer: what `Retry-After` promises in whole seconds."""
        refused = self.ask(cost)
        if not isinstance(refused, Tally) or refused.granted or any(cost > limit.room for limit in self.limits):
            return
        exactly = self.model.microseconds_until(self.stopped.now, self.limits, cost)
        assert (refused.wait - 1) * SECOND < exactly <= refused.wait * SECOND
        self.stopped.now += exactly - 1
        early = self.ask(cost, "peek")
        assert isinstance(early, Unloaded) or not early.granted
        self.stopped.now += 1
        late = self.ask(cost)
        assert isinstance(late, Tally) and late.granted

    def amount(self, place: int, amount: int) -> None:
        place %= len(self.limits)
        self.limits[place] = replace(self.limits[place], amount=amount)

    def burst(self, place: int, burst: int) -> None:
        place %= len(self.limits)
        if self.limits[place].is_smoothed:
            self.limits[place] = replace(self.limits[place], burst=burst)

    def leap(self, microseconds: int) -> None:
        self.stopped.now += microseconds

    def edge(self, window: str, beside: int) -> None:
        """To the end of the hour, day or month, or a microsecond beside it."""
        hour = self.stopped.hour
        end = (hour + 1) * 3600 if window == "hour" else calendar_window(window, hour).end
        self.stopped.now = end * SECOND + beside

    def wrong_clock(self, hours: int) -> None:
        """Its call takes nothing, and it learns Redis's time."""
        charge = Charge(KEY, "sm", 1, self.limits, ONES, secret=9)
        assert self.stopped.reply(charge, "take", self.stopped.hour + hours) == [HOUR, self.stopped.now]


def follow(redis, course, *, expires: bool = False) -> None:
    midnight, beside, places, todo = course
    note(str(course))
    begin, limits = int(midnight.timestamp()) * SECOND + beside, [POOL[place] for place in sorted(places)]
    its = Course(redis, begin, limits, expires=expires)
    for act, *values in todo:
        getattr(its, act)(*values)


@given(course=courses(leaps))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_script_answers_as_the_slow_model_does(redis, course):
    follow(redis, course)


@pytest.mark.slow
@given(course=courses(leaps))
@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_script_answers_as_the_slow_model_does_in_thousands_of_cases(redis, course):
    follow(redis, course)


@given(course=courses(forward))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_nobody_notices_that_buckets_expire(redis, course):
    follow(redis, course, expires=True)


@pytest.mark.slow
@given(course=courses(forward))
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
def test_nobody_notices_that_buckets_expire_in_thousands_of_cases(redis, course):
    follow(redis, course, expires=True)


# Amounts beyond what a double holds in one piece, and the gates of the version before, which hold it in one.


@pytest.mark.parametrize("window", SMOOTHED)
@pytest.mark.parametrize("amount", [MOST_SMOOTHED, MOST_SMOOTHED - 1, 999_999_937, 30_000_000])
def test_a_billion_drains_to_the_microsecond(take, stopped, window, amount):
    limit = Limit(name="tokens", scope="key", amount=amount, window=window, unit="units")
    assert take(limit, cost=amount).meters[0] == 0
    one = -(-SMOOTHED[window] // amount)  # microseconds until one unit has drained, rounded up
    stopped.now += one - 1
    before = (one - 1) * amount // SMOOTHED[window]
    assert take(limit, mode="peek").meters[0] == before
    stopped.now += 1
    assert take(limit, mode="peek").meters[0] == one * amount // SMOOTHED[window] > before
    stopped.now += SMOOTHED[window] - one - 1
    assert take(limit, mode="peek").meters == (amount - -(-amount // SMOOTHED[window]), 1)
    stopped.now += 1
    assert take(limit, mode="peek").meters == (amount, 0)


@pytest.mark.parametrize("amount", [MOST_SMOOTHED, 999_999_937])
def test_no_rest_of_a_billion_is_lost_from_call_to_call(redis, amount):
    """What is left is a floor, so a rest that goes missing shows only once it has added up to a unit."""
    limit = Limit(name="tokens", scope="key", amount=amount, window="hour", unit="units")
    its = Course(redis, int(MIDNIGHTS[0].timestamp()) * SECOND, [limit])
    its.ask(amount)
    for number in range(300):
        its.leap(5_000_037 + 13 * number)
        its.ask(1_000_000)


@pytest.mark.parametrize("amount", [1, 7, 999_983])
def test_a_large_debt_that_drains_slowly_is_kept_to_the_microsecond(redis, amount):
    limit = Limit(name="tokens", scope="key", amount=amount, burst=MOST_SMOOTHED, window="hour", unit="units")
    its = Course(redis, int(MIDNIGHTS[0].timestamp()) * SECOND, [limit])
    its.ask(MOST_SMOOTHED - 40)
    for number in range(40):
        its.leap(1 + number % 3)
        its.ask(1)
    its.wait(1)


@pytest.mark.parametrize(("back", "goes_on"), [(3600 * SECOND, True), (3600 * SECOND + 1, False)])
def test_a_clock_that_fell_back_by_an_hour_goes_on_and_by_more_asks_the_ledger(redis, back, goes_on):
    its = Course(redis, int(MIDNIGHTS[0].timestamp()) * SECOND, [POOL[3]])
    its.ask(1)
    its.leap(-back)
    assert isinstance(its.ask(1), Tally) is goes_on


class GateOfTheVersionBefore:
    """Reads and writes buckets of five doubles, as take.lua did in 0.2."""

    def __init__(self, stopped: StoppedRedis) -> None:
        self.stopped, self.client = stopped, stopped.client

    def take(self, limit: Limit, cost: int) -> bool:
        window, name, now = SMOOTHED[limit.window], name_of(limit), self.stopped.now
        value = self.client.execute_command("GET", name, NEVER_DECODE=True)
        debt = forgiven = 0.0
        if value:
            at, amount, burst, debt, forgiven = unpack("<5d", value[:40])
            debt = max(debt - (now - at) * amount, 0) if now >= at else debt
            changed = (amount, burst) != (limit.amount, limit.room)
            forgiven = max(debt - limit.room * window, 0) if changed else min(forgiven, debt)
        fits = debt - forgiven + cost * window <= limit.room * window
        debt += cost * window if fits else 0
        self.client.set(name, pack("<5d", now, limit.amount, limit.room, debt, forgiven))
        self.client.set(f"expires:{name}", now + ceil(debt / limit.amount / 1000) * 1000 + SECOND)
        return fits


@given(
    asks=st.lists(
        st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 30 * SECOND), st.sampled_from([60, 6, 7919])),
        min_size=1,
        max_size=25,
    )
)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_gates_of_two_versions_share_their_buckets_during_an_update(redis, asks):
    limit = replace(POOL[1], scope="key", amount=60, burst=10)
    its = Course(redis, int(MIDNIGHTS[0].timestamp()) * SECOND, [limit], expires=True)
    before = GateOfTheVersionBefore(its.stopped)
    for is_new, cost, later, amount in asks:
        its.stopped.now += later
        its.limits[0] = limit = replace(limit, amount=amount)
        if is_new:
            its.ask(cost)
        else:
            its.stopped.expire()
            wanted = its.model.ask(its.stopped.now, [limit], cost)
            assert isinstance(wanted, Tally) and before.take(limit, cost) == wanted.granted


def test_a_gate_of_the_version_before_can_read_a_debt_of_a_billion(take, stopped):
    tokens = Limit(name="tokens", scope="key", amount=10**9, window="hour", unit="units")
    assert take(tokens, cost=10**9).granted
    before = GateOfTheVersionBefore(stopped)
    assert not before.take(tokens, 1000)
    stopped.later(1800)
    assert before.take(tokens, 400_000_000)
    left = take(tokens, mode="peek").meters[0]
    assert abs(left - 100_000_000) <= 1
