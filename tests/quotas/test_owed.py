"""lua/repay.lua: calls that passed without Redis are charged to the windows in which they passed, once."""

from __future__ import annotations

import pytest

from quotas.buckets import Charge, clock
from quotas.limits import Limit, calendar_window
from quotas.owed import Debt
from store import names
from tests.quotas.conftest import ACCOUNT, HASH, KEY, ONES

ADDRESS = "203.0.113.7"
DAY = Limit(name="day", scope="account", amount=5, window="day")
MONTH = Limit(name="month", scope="key", amount=100, window="month", unit="units")
TAKEN = {
    "day": names.counter(ACCOUNT, "*", "requests", "day"),
    "month": names.counter(KEY[8:], "*", "units", "month"),
}


@pytest.fixture
def repay(redis):
    """Repay a debt of three calls that cost two units each, in some hour."""

    def repay(hour: int, debt_id: str = "a") -> int:
        charge = Charge(KEY, "sm", 2, (DAY, MONTH), ONES, secret=9)
        debt = Debt(charge, hour, debt_id, calls=3, last_use=hour * 3600 + 7, last_used_from=ADDRESS)
        reply: int = debt.call().run(redis)
        return reply

    return repay


@pytest.fixture
def counted(redis):
    """Counters of windows, by the hour they are in."""

    def count(window: str, taken: int, hour: int) -> None:
        number, its_window, _ = TAKEN[window]
        redis.hset(HASH, mapping={number: taken, its_window: calendar_window(window, hour).number})

    return count


def taken(redis, window: str) -> str | None:
    found: str | None = redis.hget(HASH, TAKEN[window][0])
    return found


def usage(redis, hour: int) -> dict[str, str]:
    return {name: value for name, value in redis.hgetall(names.usage(KEY, "sm", hour)).items() if name != "b"}


def test_a_debt_is_added_to_the_counters_of_its_window_and_to_usage(redis, repay, counted):
    now = clock.hour()
    counted("day", 4, now)
    counted("month", 10, now)
    assert repay(now) == 1
    assert (taken(redis, "day"), taken(redis, "month")) == ("7", "16")  # past the amount: they have passed
    assert usage(redis, now) == {"a": "3", "x": "3", "u:9": str(now * 3600 + 7), "f:9": f"{now * 3600 + 7} {ADDRESS}"}
    assert redis.sismember(names.changed("AA"), names.usage(KEY, "sm", now))


def test_a_debt_of_yesterday_leaves_today_s_counter_alone(redis, repay, counted):
    today = clock.hour()
    yesterday = calendar_window("day", today).start // 3600 - 1
    counted("day", 4, today)
    counted("month", 10, yesterday)
    assert repay(yesterday) == 1
    assert (taken(redis, "day"), taken(redis, "month")) == ("4", "16")
    assert usage(redis, yesterday)["a"] == "3"


def test_a_debt_of_last_month_leaves_this_month_s_counter_alone(redis, repay, counted):
    now = clock.hour()
    counted("month", 10, now)
    assert repay(calendar_window("month", now).start // 3600 - 1) == 1
    assert taken(redis, "month") == "10"


def test_a_missing_counter_is_left_to_the_ledger(redis, repay):
    assert repay(clock.hour()) == 1
    assert (taken(redis, "day"), taken(redis, "month")) == (None, None)


def test_a_debt_is_counted_once(redis, repay, counted):
    now = clock.hour()
    counted("day", 1, now)
    assert [repay(now), repay(now), repay(now, "b")] == [1, 0, 1]
    assert taken(redis, "day") == "7"
    assert usage(redis, now)["a"] == "6"
    assert 0 < redis.ttl(names.repaid("AA", "a")) <= 86400


def test_a_later_use_stays_with_its_address(redis, repay):
    now = clock.hour()
    later = {"u:9": str(now * 3600 + 8), "f:9": f"{now * 3600 + 8} 203.0.113.8"}
    redis.hset(names.usage(KEY, "sm", now), mapping=later)
    repay(now)
    assert {field: usage(redis, now)[field] for field in later} == later


def test_the_usage_of_a_debt_has_a_birth_and_expires(redis, repay):
    now = clock.hour()
    repay(now)
    name = names.usage(KEY, "sm", now)
    assert int(redis.hget(name, "b")) > now * 3600
    assert 39 * 86400 < redis.ttl(name) <= 40 * 86400
