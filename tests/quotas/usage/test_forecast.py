"""What a plan would have refused: never more than it really would have, and exact where hours can tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.limits import SMOOTHED, Limit, calendar_window, hour_of
from quotas.usage.forecast import forecast
from quotas.usage.reading import HOUR, UsageRow

START = datetime(2026, 3, 30, tzinfo=UTC)  # two days before a month ends
COSTS = {"sm": 1, "lg": 40, "gone": 1}


def hour(at: datetime, calls: int, *, key: str = "k1", model: str = "sm", cost: int | None = None) -> UsageRow:
    units = calls * (COSTS[model] if cost is None else cost)
    return UsageRow(at, at + HOUR, None, key, model, calls, 0, 0, units)


def limit(amount: int, window: str, **more) -> Limit:
    return Limit(**{"name": window, "scope": "account", **more}, amount=amount, window=window)


def told(rows, *limits, models=("sm", "lg")):
    return forecast(rows, limits, models, start=START)


def test_a_smoothed_limit_lets_in_its_amount_and_its_burst():
    found = told([hour(START, 200), hour(START + HOUR, 70)], limit(1, "minute", burst=10))
    assert (found.calls, found.at_least) == (270, 130)


def test_a_limit_of_each_key_is_asked_of_each_key():
    rows = [hour(START, 100, key="k1"), hour(START, 100, key="k2")]
    assert told(rows, limit(100, "hour", burst=1, scope="key")).at_least == 0
    assert told(rows, limit(100, "hour", burst=1)).at_least == 99


def test_a_quota_of_a_day_ends_with_the_day():
    rows = [hour(START, 8), hour(START + 23 * HOUR, 8), hour(START + 24 * HOUR, 8)]
    assert told(rows, limit(10, "day")).at_least == 6


def test_a_month_that_was_half_used_up_before_is_not_whole():
    rows = [hour(START - timedelta(days=5), 90), hour(START, 30), hour(START + timedelta(days=2), 50)]
    found = told(rows, limit(100, "month"))
    assert (found.calls, found.at_least) == (80, 20)


def test_what_was_used_up_before_leaves_nothing():
    assert told([hour(START - HOUR, 3, model="lg"), hour(START, 19)], limit(100, "month", unit="units")).at_least == 19


def test_units_are_calls_of_the_dearest_kind():
    rows = [hour(START, 3, model="lg"), hour(START + HOUR, 20)]  # 120 + 20 units; the third dear call did not fit
    assert told(rows, limit(100, "day", unit="units")).at_least == 1


def test_a_limit_of_one_model_leaves_the_others_alone():
    rows = [hour(START, 50), hour(START, 50, model="lg")]
    assert told(rows, limit(10, "day", model="lg")).at_least == 40


def test_calls_to_a_model_outside_of_the_plan_are_refused_before_any_limit():
    found = told([hour(START, 50), hour(START, 5, model="gone")], limit(30, "day"))
    assert (found.by_model, found.at_least) == ({"gone": 5}, 25)


def test_of_two_limits_the_strictest_counts_alone():
    assert told([hour(START, 100)], limit(90, "day"), limit(60, "month")).at_least == 40


def test_a_limit_in_shadow_is_told_and_refuses_nothing():
    found = told([hour(START, 100)], limit(90, "day", shadow=True))
    assert found.at_least == 0 and found.by_limit[0].calls == 10


def test_limits_of_keys_are_not_told_without_usage_by_key():
    found = forecast([hour(START, 9)], [limit(1, "day", scope="key")], ["sm"], start=START, knows_keys=False)
    assert found.by_limit[0].calls is None and found.at_least == 0


CALLS = st.tuples(
    st.integers(0, 3 * 24 * 3600 - 1),  # the second at which it came, the first day before START
    st.sampled_from(["k1", "k2"]),
    st.sampled_from(list(COSTS)),
)
LIMITS = st.builds(
    limit,
    st.integers(1, 12),
    st.sampled_from(["minute", "hour", "day", "month"]),
    scope=st.sampled_from(["account", "key"]),
    unit=st.sampled_from(["requests", "units"]),
    model=st.sampled_from(["*", "sm"]),
)


@given(st.lists(CALLS, max_size=200), st.lists(LIMITS, max_size=3))
def test_it_never_claims_more_than_the_gate_would_have_refused(calls, limits):
    first = START - timedelta(days=1)
    calls = sorted(
        (first + timedelta(seconds=second % 40 + second // 40_000 * 40_000), key, model) for second, key, model in calls
    )
    hours = Counter((at.replace(minute=0, second=0), key, model) for at, key, model in calls)
    rows = [hour(at, count, key=key, model=model) for (at, key, model), count in hours.items()]
    limits = [each for n, each in enumerate(limits) if each.identity not in {one.identity for one in limits[:n]}]
    assert told(rows, *limits).at_least <= refused_by_the_gate(calls, limits)


def refused_by_the_gate(calls, limits) -> int:
    """Take each call from all limits or from none, as the script does. Those before START were let in already."""
    refused, quotas = 0, Counter[Any]()
    debts: dict[Any, Any] = defaultdict(lambda: (START - timedelta(days=9), 0.0))
    for at, key, model in calls:
        asked = [one for one in limits if one.applies_to(model)]
        is_asked = at >= START
        fits, takes = model != "gone", list[Any]()
        for one in asked:
            subject, cost = (one, key if one.scope == "key" else ""), one.cost_of(COSTS[model])
            if one.is_smoothed and is_asked:
                since, debt = debts[subject]
                drained = (at - since).total_seconds() * one.amount / (SMOOTHED[one.window] / 1_000_000)
                debt = max(debt - drained, 0.0)
                fits = fits and debt + cost <= one.room + 1e-6
                takes.append((debts, subject, (at, debt + cost)))
            elif not one.is_smoothed:
                window = (*subject, calendar_window(one.window, hour_of(at)).number)
                fits = fits and quotas[window] + cost <= one.amount
                takes.append((quotas, window, quotas[window] + cost))
        if fits or not is_asked:
            for counters, name, value in takes:
                counters[name] = value
        else:
            refused += 1
    return refused


@pytest.mark.parametrize("window", ["day", "month"])
@given(st.lists(CALLS, max_size=100))
def test_a_quota_in_requests_is_told_exactly(window, calls):
    calls = sorted((START + timedelta(seconds=second // 2), key, "sm") for second, key, _ in calls)
    hours = Counter((at.replace(minute=0, second=0), key, model) for at, key, model in calls)
    rows = [hour(at, count, key=key, model=model) for (at, key, model), count in hours.items()]
    one = limit(20, window)
    assert told(rows, one).at_least == refused_by_the_gate(calls, [one])
