"""lua/take.lua, through a real Redis."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from struct import pack
from time import monotonic, time
from typing import cast

import hiredis
import pytest

from quotas import buckets
from quotas.buckets import Charge, Stale, Tally, Unloaded, Versions, clock
from quotas.limits import SECOND, SMOOTHED, Limit, calendar_window
from store import names
from store.link import Link, close_link, link
from tests.quotas.conftest import ACCOUNT, HASH, KEY, ONES, name_of

MINUTE = Limit(name="minute", scope="key", amount=60, window="minute", burst=3)
SECOND_LIMIT = Limit(name="second", scope="account", amount=7, window="second")
DAY = Limit(name="day", scope="account", amount=5, window="day")
MONTH_UNITS = Limit(name="month", scope="account", amount=23, window="month", unit="units")
KEY_DAY = Limit(name="key-day", scope="key", amount=4, window="day")


def usage(redis, model: str = "sm") -> dict[str, int]:
    raw = redis.hgetall(names.usage(KEY, model, clock.hour()))
    return {name: int(value) for name, value in raw.items() if name in "arsx"}


def reasons(redis) -> dict[str, int]:
    raw = redis.hgetall(names.usage(KEY, "sm", clock.hour()))
    return {name: int(value) for name, value in raw.items() if name[:2] in ("r:", "l:", "s:")}


def taken_of(redis, limit: Limit) -> int:
    subject = ACCOUNT if limit.scope == "account" else KEY[8:]
    return int(redis.hget(HASH, names.counter(subject, limit.model, limit.unit, limit.window)[0]) or 0)


def test_a_burst_passes_and_the_next_call_waits_for_one_interval(take):
    assert [take(MINUTE).meters for _ in range(3)] == [(2, 1), (1, 2), (0, 3)]
    refused = take(MINUTE)
    assert (refused.granted, refused.violated, refused.wait) == (False, (0,), 1)
    assert refused.meters == (0, 3)


def test_time_gives_back_smoothly(take, later):
    for _ in range(3):
        take(MINUTE)
    later(1)
    assert take(MINUTE).granted
    assert not take(MINUTE).granted
    later(100)
    assert take(MINUTE).meters == (2, 1)


@pytest.mark.parametrize("amount", [3, 7, 11, 13, 999, 7919])
def test_no_rate_is_rounded(take, stopped, amount):
    """A call of 7 a second drains in 142,857.14 microseconds: seven of them in a second, to the microsecond."""
    limit = Limit(name="x", scope="key", amount=amount, window="second", unit="units")
    assert take(limit).granted
    stopped.now += SECOND // amount
    assert take(limit, mode="peek").meters[0] == amount - 1
    stopped.now += 1
    assert take(limit, mode="peek").meters[0] == amount
    assert take(limit, cost=amount).granted
    stopped.now += SECOND - 1
    assert take(limit, mode="peek").meters == (amount - 1, 1)
    stopped.now += 1
    assert take(limit, mode="peek").meters == (amount, 0)


def test_exactly_the_burst_passes_however_the_interval_falls(take, redis):
    """An interval of 3333.33 microseconds, ten thousand times: nothing may drift."""
    limit = Limit(name="x", scope="key", amount=3, window="hour", burst=10_000)
    assert sum(take(limit).granted for _ in range(10_050)) == 10_000


def test_a_refused_call_takes_nothing_from_any_limit(take, later, redis, stopped):
    for _ in range(4):
        take(KEY_DAY, SECOND_LIMIT)
    before = stopped.bucket(SECOND_LIMIT), taken_of(redis, DAY)
    later(0.01)
    refused = take(KEY_DAY, SECOND_LIMIT, DAY)
    assert refused.violated == (0,)
    assert (stopped.bucket(SECOND_LIMIT), taken_of(redis, DAY)) == before


@pytest.mark.parametrize("places", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_a_refusal_names_each_limit_that_said_no_and_waits_for_the_longest(take, stopped, places):
    hour = Limit(name="hour", scope="account", amount=1, window="hour")
    for limit in (MINUTE, MINUTE, MINUTE, hour, *[DAY] * 5):
        assert take(limit).granted
    limits = (MINUTE, hour, DAY)
    day_left = calendar_window("day", stopped.hour).end - stopped.now // SECOND
    refused = take(SECOND_LIMIT, *(limits[place] for place in places))
    assert refused.violated == (1, 2, 3)
    assert refused.wait == max(3600, day_left)


def test_a_calendar_limit_counts_up_to_its_amount_and_tells_when_it_is_whole(take):
    outcomes = [take(DAY) for _ in range(7)]
    assert [outcome.granted for outcome in outcomes] == [True] * 5 + [False] * 2
    assert [outcome.meters[0] for outcome in outcomes] == [4, 3, 2, 1, 0, 0, 0]
    assert 0 < outcomes[0].meters[1] <= 86400


def test_units_weigh_a_call_by_the_model_s_cost(take, redis):
    outcomes = [take(MONTH_UNITS, cost=5) for _ in range(6)]
    assert [outcome.granted for outcome in outcomes] == [True] * 4 + [False] * 2
    assert outcomes[-1].meters[0] == 3
    assert take(MONTH_UNITS, cost=3).granted
    assert usage(redis) == {"a": 5, "r": 2, "x": 4 * 4 + 2}


def test_a_shadow_limit_refuses_nothing_and_is_counted(take, redis):
    shadow = Limit(name="s", scope="key", amount=2, window="day", shadow=True)
    outcomes = [take(shadow, DAY) for _ in range(4)]
    assert all(outcome.granted for outcome in outcomes)
    assert all(len(outcome.meters) == 2 for outcome in outcomes)
    assert usage(redis) == {"a": 4, "s": 2}
    assert taken_of(redis, shadow) == 4  # as usage says: what passed has been used


def test_a_quota_that_leaves_the_shadow_has_all_used_that_passed_in_it(take):
    shadow = Limit(name="s", scope="key", amount=2, window="day", shadow=True)
    for _ in range(4):
        take(shadow)
    assert take(replace(shadow, shadow=False)).meters[0] == 0
    assert take(replace(shadow, shadow=False, amount=6)).meters[0] == 1


def test_a_shadow_limit_counts_no_call_that_a_different_limit_refuses(take, redis):
    shadow = Limit(name="s", scope="key", amount=9, window="day", shadow=True)
    for _ in range(8):
        take(shadow, DAY)
    assert taken_of(redis, shadow) == 5
    assert usage(redis) == {"a": 5, "r": 3}


def test_with_other_versions_nothing_is_taken_and_the_versions_are_returned(take, redis):
    for versions in (Versions(2, 1, 1), Versions(1, 2, 1), Versions(1, 1, 2), Versions(0, 0, 0)):
        assert take(DAY, versions=versions) == Stale(Versions(1, 1, 1))
    assert usage(redis) == {}
    assert taken_of(redis, DAY) == 0


def test_an_account_that_redis_does_not_have_is_stale_and_is_not_made(take, redis):
    redis.delete(HASH)
    assert take(DAY) == Stale(Versions(1, 0, 0))
    redis.delete(names.catalogue_version("AA"))
    assert take(DAY) == Stale(Versions(0, 0, 0))
    assert not redis.exists(HASH)


def test_a_missing_counter_is_zero_only_if_its_window_was_counted_from_its_beginning(take, redis):
    now = int(time() * SECOND)
    redis.hset(HASH, "l", now)  # loaded in the middle of this day
    assert take(DAY) == Unloaded()
    redis.hset(HASH, "l", calendar_window("day", clock.hour()).start * SECOND)
    assert take(DAY).granted
    redis.hdel(HASH, "l")
    assert take(KEY_DAY).granted  # the key's own load counts for the key's counters
    redis.hdel(HASH, names.field("l", KEY))
    assert take(KEY_DAY).granted  # it has a counter by now
    assert take(Limit(name="m", scope="key", amount=4, window="month")) == Unloaded()


def test_a_key_without_a_load_of_its_own_goes_by_that_of_its_account(take, redis):
    redis.hdel(HASH, names.field("l", KEY))
    assert take(KEY_DAY).granted
    month = Limit(name="m", scope="key", amount=4, window="month")
    redis.hset(HASH, "l", int(time() * SECOND))  # in the middle of this month
    assert take(month) == Unloaded()
    redis.hdel(HASH, "l")
    assert take(month) == Unloaded()


def test_a_limit_younger_than_its_window_asks_for_past_usage(take):
    young = Limit(name="day", scope="account", amount=5, window="day", since=int(time() * SECOND))
    assert take(young) == Unloaded()


@pytest.mark.parametrize(
    ("windows_ago", "loaded_for", "is_known"),
    [(0, 0, True), (0, 1, True), (0, -1, False), (1, 0, False), (1, 1, False)],
)
def test_a_young_limit_counts_on_what_was_loaded_for_it_in_this_window(take, redis, windows_ago, loaded_for, is_known):
    young = replace(DAY, since=int(time() * SECOND))
    number, window, since = names.counter(ACCOUNT, "*", "requests", "day")
    this = calendar_window("day", clock.hour()).number
    redis.hset(HASH, mapping={number: 3, window: this - windows_ago, since: young.since + loaded_for})
    found = take(young)
    assert (found.meters[0] == 1) if is_known else found == Unloaded()


def test_a_new_window_begins_at_zero_without_a_question(take, redis):
    for _ in range(5):
        take(DAY)
    assert not take(DAY).granted
    number, window, _ = names.counter(ACCOUNT, "*", "requests", "day")
    redis.hset(HASH, window, int(redis.hget(HASH, window)) - 1)  # it was yesterday
    assert take(DAY).meters[0] == 4
    assert redis.hget(HASH, number) == "1"


def end_of(window: str, hour: int) -> int:
    return calendar_window(window, hour).end


@pytest.mark.parametrize("window", ["day", "month"])
@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize("year", [2027, 2028, 2100])
def test_a_clock_that_fell_back_over_midnight_goes_on_counting_in_the_later_window(stopped, take, window, month, year):
    quota = Limit(name="q", scope="account", amount=2, window=window)
    midnight = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
    stopped.now = midnight * SECOND
    assert take(quota).granted
    stopped.now -= 600 * SECOND
    assert take(quota).meters == (0, end_of(window, midnight // 3600) - midnight + 600)
    refused = take(quota)
    assert not refused.granted
    stopped.later(refused.wait - 1)
    assert not take(quota).granted
    stopped.later(1)
    assert take(quota).meters[0] == 1


@pytest.mark.parametrize(("window", "days"), [("day", 2), ("day", 4000), ("month", 63), ("month", 4000)])
def test_a_clock_that_jumped_ahead_and_came_back_asks_the_ledger(take, later, window, days):
    quota = replace(DAY, window=window)
    take(quota)
    later(days * 86400)
    assert take(quota).meters[0] == 4
    later(-days * 86400)
    assert take(quota) == Unloaded()


def test_a_plan_s_change_keeps_what_was_used(take):
    for _ in range(4):
        take(DAY)
    bigger = Limit(name="another-name", scope="account", amount=6, window="day")
    assert [take(bigger).granted for _ in range(3)] == [True, True, False]


def test_in_a_different_hour_nothing_is_taken_and_the_time_is_returned(redis):
    charge = Charge(KEY, "sm", 1, (DAY,), Versions(1, 1, 1))
    code, now = charge.call("take", clock.hour() + 1).run(redis)
    assert code == -2
    assert abs(now / SECOND - time()) < 5
    assert usage(redis) == {}


def test_a_gate_with_a_wrong_clock_asks_again_in_redis_s_hour(redis, on_a_loop, monkeypatch):
    monkeypatch.setattr(clock, "ahead", 7200.0)
    assert isinstance(on_a_loop(_ask_by_link(Charge(KEY, "sm", 1, (DAY,), ONES), "peek")), Tally)
    assert abs(clock.ahead) < 5


USED = {"a": 1}, "203.0.113.9"
BY_MODE = {"take": USED, "peek": ({}, None), "revoked_key": ({"r": 1}, None)}


@pytest.mark.parametrize("mode", BY_MODE)
@pytest.mark.parametrize("again_because", ["the script is gone", "it is another hour", "both"])
def test_what_is_asked_again_is_what_was_asked(redis, on_a_loop, monkeypatch, mode, again_because):
    monkeypatch.setattr(clock, "ahead", 0.0 if again_because == "the script is gone" else 7200.0)
    if again_because != "it is another hour":
        redis.script_flush()
    assert isinstance(on_a_loop(_ask_by_link(Charge(KEY, "sm", 1, (DAY,), ONES, secret=9), mode)), Tally)
    raw = redis.hgetall(names.usage(KEY, "sm", clock.hour()))
    assert (usage(redis), raw.get("f:9", "").partition(" ")[2] or None) == BY_MODE[mode]


@pytest.mark.parametrize("first", [hiredis.ReplyError("NOSCRIPT"), [buckets.HOUR, 0]], ids=["an error", "another hour"])
def test_a_second_attempt_has_the_deadline_of_the_first(on_a_loop, monkeypatch, first):
    """The pipe keeps it in the first; from then on it is kept here."""
    monkeypatch.setattr(clock, "ahead", 0.0)  # and as it was afterwards

    class Hanging:
        sent = 0

        def send(self, *_):
            future = asyncio.get_running_loop().create_future()
            self.sent += 1
            if self.sent == 1:
                future.set_result(first)
            return future

        async def again(self, *_):
            await asyncio.Event().wait()

    async def run() -> BaseException | None:
        taking = asyncio.ensure_future(
            buckets.take(cast(Link, Hanging()), Charge(KEY, "sm", 1, (DAY,), ONES), monotonic() + 0.01)
        )
        ended, _ = await asyncio.wait([taking], timeout=20)
        assert ended
        return taking.exception()

    assert isinstance(on_a_loop(run()), TimeoutError)


async def _ask_by_link(charge: Charge, mode: str) -> Tally | Stale | Unloaded:
    try:
        return await buckets.take(link(), charge, monotonic() + 10, mode, "203.0.113.9")
    finally:
        await close_link()


def test_a_refusal_by_the_rules_is_counted_and_takes_nothing(take, redis):
    refused = take(mode="revoked_key")
    assert refused == Tally(False, ())
    assert usage(redis) == {"r": 1}
    assert reasons(redis) == {"r:revoked_key": 1}
    assert redis.smembers(names.changed("AA")) == {names.usage(KEY, "sm", clock.hour())}


def test_a_refusal_is_counted_under_the_limit_that_one_has_to_wait_for_longest(take, redis):
    hour = Limit(name="hour", scope="account", amount=1, window="hour", model="sm", unit="units")
    for limit in (*[MINUTE] * 3, hour, *[DAY] * 5, *[KEY_DAY] * 4):
        assert take(limit).granted
    for limits in ((MINUTE,), (MINUTE, hour), (hour, MINUTE, SECOND_LIMIT), (KEY_DAY,), (DAY, KEY_DAY)):
        assert not take(*limits).granted
    assert reasons(redis) == {
        "l:key:*:requests:minute": 1,
        "l:account:sm:units:hour": 2,
        "l:key:*:requests:day": 1,
        "l:account:*:requests:day": 1,
    }
    assert usage(redis)["r"] == 5


def test_a_call_is_counted_for_each_limit_in_shadow_that_would_have_refused_it(take, redis):
    day, minute = replace(DAY, shadow=True), replace(MINUTE, shadow=True)
    assert all(take(day, minute, SECOND_LIMIT).granted for _ in range(6))
    assert reasons(redis) == {"s:account:*:requests:day": 1, "s:key:*:requests:minute": 3}
    assert usage(redis) == {"a": 6, "s": 3}


def test_a_refused_call_is_counted_under_no_limit_in_shadow(take, redis):
    for _ in range(7):
        take(DAY, replace(MINUTE, shadow=True))
    assert reasons(redis) == {"s:key:*:requests:minute": 2, "l:account:*:requests:day": 2}


@pytest.mark.parametrize("prefix", ["", "a:g:b:"])
def test_a_limit_s_name_in_usage_is_free_of_prefix_and_subject(take, redis, monkeypatch, prefix):
    monkeypatch.setattr(names, "PREFIX", prefix)
    limit = Limit(name="x", scope="account", amount=1, window="minute", model="g.v-2_x", unit="units")
    redis.hset(names.account(ACCOUNT), mapping={"v": 1, names.field("v", KEY): 1})
    redis.set(names.catalogue_version("AA"), 1)
    assert [take(limit).granted for _ in range(2)] == [True, False]
    assert reasons(redis) == {"l:account:g.v-2_x:units:minute": 1}


def test_peek_tells_what_is_left_and_takes_nothing(take, redis):
    take(MINUTE, DAY)
    before = usage(redis)
    assert (
        take(MINUTE, DAY, mode="peek")
        == take(MINUTE, DAY, mode="peek")
        == Tally(True, (2, 1, 4, *take(DAY, mode="peek").meters[1:]))
    )
    for _ in range(2):
        take(MINUTE, DAY)
    assert take(MINUTE, DAY, mode="peek").violated == (0,)
    assert usage(redis) == {"a": before["a"] + 2}


def test_usage_carries_its_birth_and_the_last_use_of_the_secret_with_its_address(take, redis):
    take(DAY)
    raw = redis.hgetall(names.usage(KEY, "sm", clock.hour()))
    assert abs(int(raw["b"]) / SECOND - time()) < 5
    assert abs(int(raw["u:9"]) - time()) < 5
    assert raw["f:9"] == f"{raw['u:9']} 203.0.113.7"
    born = raw["b"]
    take(DAY)
    assert redis.hget(names.usage(KEY, "sm", clock.hour()), "b") == born


def test_everything_except_accounts_expires(redis):
    charge = Charge(KEY, "sm", 1, (MINUTE, SECOND_LIMIT, DAY), ONES)
    charge.call("take", clock.hour()).run(redis)
    expiring = [
        name for name in redis.scan_iter() if name not in (HASH, names.catalogue_version("AA"), names.changed("AA"))
    ]
    assert len(expiring) == 3
    assert all(redis.ttl(name) > 0 for name in expiring)


@pytest.mark.parametrize("mode", ["take", "revoked_key"])
def test_usage_waits_40_days_for_a_worker_from_its_first_call(take, redis, mode):
    name = names.usage(KEY, "sm", clock.hour())
    take(DAY, mode=mode)
    assert 40 * 86400 - 60 < redis.ttl(name) <= 40 * 86400
    redis.expire(name, 1000)  # as a worker that has copied it shortens it
    for _ in range(3):
        take(DAY, mode=mode)
    assert redis.ttl(name) <= 1000


@pytest.mark.parametrize("cost", [1, 2, 3, 1_000_000])
def test_usage_has_the_units_beyond_one_a_call(take, redis, cost):
    for calls in (1, 2):
        assert take(DAY, cost=cost).granted
        assert usage(redis) == {"a": calls} | ({"x": calls * (cost - 1)} if cost > 1 else {})


@pytest.mark.parametrize("window", ["second", "minute", "hour"])
@pytest.mark.parametrize(
    ("amount", "burst", "calls"), [(1, 1, 1), (7, 5, 3), (1000, 1000, 1000), (10**9, 10**9, 10**9)]
)
def test_a_bucket_lives_until_after_it_is_full_and_for_two_minutes_at_least(
    take, stopped, window, amount, burst, calls
):
    """One that is gone is full: gone too early, 1 a minute would hold for a second."""
    limit = Limit(name="x", scope="key", amount=amount, window=window, burst=burst, unit="units")
    take(limit, cost=calls)
    full_in = Fraction(calls * SMOOTHED[window], amount * SECOND)
    if full_in <= 60:
        assert stopped.life(limit) == pytest.approx(121 if amount < 10**9 or window == "second" else full_in + 1)
    else:
        assert 1 <= stopped.life(limit) - full_in < 2


MINUTE_START = int(datetime(2026, 12, 1, 10, 30, tzinfo=UTC).timestamp()) * SECOND


def test_an_expiry_is_set_once_a_minute_for_debts_that_drain_within_one(take, stopped):
    limit = replace(MINUTE, burst=60)
    stopped.now = MINUTE_START + 20 * SECOND
    take(limit)
    set_at = stopped.now
    for later in (0, 1, SECOND, 38_999_998):
        stopped.now += later
        assert take(limit).granted
        assert stopped.expires_at(limit) == set_at + 121 * SECOND
    stopped.now = MINUTE_START + 60 * SECOND
    assert take(limit).granted
    assert stopped.expires_at(limit) == stopped.now + 121 * SECOND


def test_a_debt_that_drains_for_longer_than_a_minute_always_sets_its_expiry(take, stopped):
    limit = Limit(name="x", scope="key", amount=60, window="hour", burst=10)
    stopped.now = MINUTE_START
    take(limit)
    assert stopped.life(limit) == 121
    for calls in range(2, 10):
        take(limit)
        assert stopped.life(limit) == 60 * calls + 1
    stopped.later(8 * 60)
    take(limit)
    assert stopped.life(limit) == 121


@pytest.mark.parametrize("fell_back_by", [1, 20 * SECOND, 3600 * SECOND])
def test_a_clock_that_was_set_back_sets_the_expiry_anew(take, stopped, fell_back_by):
    stopped.now = MINUTE_START + 30 * SECOND
    take(MINUTE)
    stopped.now -= fell_back_by
    take(MINUTE)
    assert stopped.life(MINUTE) == 3
    stopped.now += 1
    take(MINUTE, mode="peek")
    assert take(MINUTE).granted
    assert stopped.life(MINUTE) == 121


def test_a_bucket_of_the_version_before_gets_an_expiry_of_ours(take, stopped):
    """Its own is over a second after it has drained, which suffices for no further call."""
    stopped.now = MINUTE_START
    stopped.client.set(name_of(MINUTE), pack("<5d", stopped.now, 60, 3, 60 * SECOND, 0))
    stopped.client.set(f"expires:{name_of(MINUTE)}", stopped.now + 2 * SECOND)
    assert take(MINUTE).meters == (1, 2)
    assert stopped.life(MINUTE) == 121


def test_redis_keeps_an_expiry_that_suffices(redis):
    call = Charge(KEY, "sm", 1, (replace(MINUTE, burst=60),), ONES).call("take", clock.hour())
    name, minutes = name_of(MINUTE), {0, 1}
    while len(minutes) > 1:  # the minute was over in between: try again, in the next one
        redis.delete(name)
        minutes = {redis.time()[0] // 60}
        call.run(redis)
        assert 60_000 < redis.pttl(name) <= 121_000
        redis.pexpire(name, 1_000_000)  # what the script would never set
        call.run(redis)
        minutes.add(redis.time()[0] // 60)
    assert redis.pttl(name) > 121_000


def test_many_threads_at_once_get_exactly_the_limit(take, redis):
    limits = (
        Limit(name="day", scope="account", amount=200, window="day"),
        Limit(name="h", scope="key", amount=150, window="hour"),
    )
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda _: take(*limits).granted, range(400)))
    assert sum(outcomes) == 150
    assert taken_of(redis, limits[0]) == 150
    assert usage(redis) == {"a": 150, "r": 250}


def test_a_usage_hash_of_the_wrong_type_fails_the_call_before_anything_is_taken(take, redis):
    redis.set(names.usage(KEY, "sm", clock.hour()), "planted")
    with pytest.raises(Exception, match="WRONGTYPE"):
        take(MINUTE, DAY)
    assert taken_of(redis, DAY) == 0
    assert not redis.exists(names.bucket(KEY, "*", "requests", "minute"))
