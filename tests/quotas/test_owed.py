"""lua/repay.lua: calls that passed without Redis are charged to the windows in which they passed, once."""

from __future__ import annotations

import logging

import pytest

from quotas import owed
from quotas.buckets import Charge, Versions, clock
from quotas.limits import Limit, calendar_window
from quotas.owed import Debt, Owed
from store import names
from store.link import close_link, link
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


def test_usage_that_has_a_birth_keeps_it(redis, repay):
    """With a later one it would count as a second hash, whose calls are added to those of the first."""
    now = clock.hour()
    redis.hset(names.usage(KEY, "sm", now), "b", now * 3600 * 1_000_000)
    repay(now)
    assert redis.hget(names.usage(KEY, "sm", now), "b") == str(now * 3600 * 1_000_000)


@pytest.mark.parametrize(("microseconds", "birth"), [("0", "1800000000000000"), ("42", "1800000000000042")])
def test_the_birth_of_usage_is_a_microsecond_at_every_time_of_a_second(redis, microseconds, birth):
    stopped = f"""
        local real = redis
        local redis = {{call = function(command, ...)
          if command == 'TIME' then return {{'1800000000', '{microseconds}'}} end
          return real.call(command, ...)
        end}}
    """
    call = Debt(charge(), 500_000, "a", calls=1).call()
    redis.eval(stopped + owed.REPAY.source, len(call.keys), *call.keys, *call.args)
    assert redis.hget(names.usage(KEY, "sm", 500_000), "b") == birth


# What a process owes


OTHER_KEY = "AAAAAAAAllllllll"


def charge(key: str = KEY, model: str = "sm", versions: Versions = ONES, secret: int = 9) -> Charge:
    return Charge(key, model, 1, (), versions, secret)


@pytest.fixture
def repaid(on_a_loop):
    """Repay what is owed, and return how many debts were counted."""

    async def repay_by_link(debts: Owed) -> int:
        try:
            return await debts.repay(link())
        finally:
            await close_link()

    return lambda debts: on_a_loop(repay_by_link(debts))


def calls(redis, key: str = KEY, model: str = "sm") -> str | None:
    found: str | None = redis.hget(names.usage(key, model, clock.hour()), "a")
    return found


def test_debts_of_one_key_and_model_are_one_and_have_the_latest_use(redis, repaid, monkeypatch):
    debts = Owed()
    for second, address in ((7, "203.0.113.7"), (9, "203.0.113.9")):
        monkeypatch.setattr(owed, "time", lambda second=second: second)
        debts.note(charge(), address)
    assert repaid(debts) == 1
    found = redis.hgetall(names.usage(KEY, "sm", clock.hour()))
    assert (found["a"], found["u:9"], found["f:9"]) == ("2", "9", "9 203.0.113.9")


@pytest.mark.parametrize(
    "other",
    [charge(OTHER_KEY), charge(model="lg"), charge(versions=Versions(1, 1, 2)), charge(secret=8)],
    ids=["key", "model", "versions", "secret"],
)
def test_calls_are_charged_under_the_terms_that_they_passed_by(redis, repaid, other):
    debts = Owed()
    for each in (charge(), other, charge()):
        debts.note(each, ADDRESS)
    assert repaid(debts) == 2
    if (other.key_id, other.model) == (KEY, "sm"):
        assert calls(redis) == "3"
    else:
        assert (calls(redis), calls(redis, other.key_id, other.model)) == ("2", "1")
    assert f"u:{other.secret}" in redis.hgetall(names.usage(other.key_id, other.model, clock.hour()))


def test_a_debt_of_an_hour_that_ended_is_charged_to_it(redis, repaid, monkeypatch):
    debts, now = Owed(), clock.hour()
    with monkeypatch.context() as patch:
        patch.setattr(clock, "hour", lambda: now - 1)
        debts.note(charge(), ADDRESS)
    debts.note(charge(), ADDRESS)
    assert repaid(debts) == 2
    assert (usage(redis, now - 1)["a"], usage(redis, now)["a"]) == ("1", "1")


@pytest.mark.parametrize("refused", ["sm", "lg"])
def test_a_debt_that_redis_refuses_is_given_up_and_holds_up_no_other(redis, repaid, caplog, refused):
    debts = Owed()
    for model in ("sm", "lg"):
        debts.note(charge(model=model), ADDRESS)
    redis.set(names.usage(KEY, refused, clock.hour()), "of the wrong type")
    assert repaid(debts) == 1
    assert not debts
    assert calls(redis, model={"sm": "lg", "lg": "sm"}[refused]) == "1"
    assert f"1 calls of key {KEY} will not be counted" in caplog.text


def test_debts_are_bounded_and_calls_beyond_them_are_told_once(redis, repaid, monkeypatch, caplog):
    monkeypatch.setattr(owed, "MOST", 2)
    debts = Owed()
    for model in ("sm", "lg", "xl", "xxl", "sm"):
        debts.note(charge(model=model), ADDRESS)
    with caplog.at_level(logging.ERROR):
        assert [repaid(debts) for _ in range(2)] == [2, 0]
    assert [calls(redis, model=model) for model in ("sm", "lg", "xl", "xxl")] == ["2", "1", None, None]
    (told,) = caplog.records
    assert told.getMessage().startswith("2 calls that passed without redis will not be counted")
    debts.note(charge(model="xl"), ADDRESS)  # there is room again
    assert repaid(debts) == 1
