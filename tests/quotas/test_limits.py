"""Limits as values, and the calendar: every hour falls into one day and one month of UTC."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.limits import EVERY_MODEL, Limit, calendar_window, hour_of, hour_start

hours = st.integers(hour_of(datetime(1970, 1, 1, tzinfo=UTC)), hour_of(datetime(9990, 1, 1, tzinfo=UTC)))
moments = st.datetimes(datetime(1970, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC))


def _month(year: int, month: int) -> datetime:
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


@given(moments)
def test_an_hour_holds_the_moments_from_its_start_to_the_next(moment):
    start = hour_start(hour_of(moment))
    assert start <= moment < start + timedelta(hours=1)
    assert start == moment.replace(minute=0, second=0, microsecond=0)


@given(hours)
def test_a_day_is_midnight_to_midnight(hour):
    window, day = calendar_window("day", hour), hour_start(hour).replace(hour=0)
    assert datetime.fromtimestamp(window.start, UTC) == day
    assert datetime.fromtimestamp(window.end, UTC) == day + timedelta(days=1)
    assert window.number == (day - datetime(1970, 1, 1, tzinfo=UTC)).days


@given(hours)
def test_a_month_is_first_to_first(hour):
    window, moment = calendar_window("month", hour), hour_start(hour)
    assert datetime.fromtimestamp(window.start, UTC) == _month(moment.year, moment.month - 1)
    assert datetime.fromtimestamp(window.end, UTC) == _month(moment.year, moment.month)


@pytest.mark.parametrize("window", ["day", "month"])
@given(hour=hours)
def test_windows_follow_each_other_without_gap_or_overlap(window, hour):
    this = calendar_window(window, hour)
    following = calendar_window(window, this.end // 3600)
    assert this.start <= hour * 3600 < this.end == following.start
    assert following.number == this.number + 1
    assert calendar_window(window, this.end // 3600 - 1) == this


@pytest.mark.parametrize(
    ("moment", "days"),
    [
        ("2024-02-29T12", 29),
        ("2023-02-28T23", 28),
        ("2000-02-01T00", 29),
        ("2100-02-28T23", 28),
        ("2026-12-31T23", 31),
        ("2027-01-01T00", 31),
        ("2026-04-30T23", 30),
    ],
)
def test_a_month_has_the_days_of_the_calendar(moment, days):
    hour = hour_of(datetime.fromisoformat(f"{moment}:59:59+00:00"))
    window = calendar_window("month", hour)
    assert window.end - window.start == days * 86400


def test_a_year_ends_between_two_hours():
    before = hour_of(datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    for window, name in (("day", "%Y-%m-%d"), ("month", "%Y-%m")):
        old, new = calendar_window(window, before), calendar_window(window, before + 1)
        assert (
            datetime.fromtimestamp(old.start, UTC).strftime(name)
            < "2027"
            <= datetime.fromtimestamp(new.start, UTC).strftime(name)
        )
        assert new.number == old.number + 1


@pytest.mark.parametrize(
    ("window", "burst", "room"),
    [("minute", None, 60), ("minute", 5, 5), ("hour", 90, 90), ("day", None, 60), ("day", 5, 60)],
)
def test_the_room_is_the_burst_or_the_whole_amount(window, burst, room):
    limit = Limit(name="a", scope="key", amount=60, window=window, burst=burst)
    assert limit.room == room
    assert limit.is_smoothed == (window != "day")


def test_only_units_are_weighed():
    requests = Limit(name="a", scope="key", amount=60, window="day")
    units = Limit(name="a", scope="key", amount=60, window="day", unit="units")
    assert (requests.cost_of(7), units.cost_of(7)) == (1, 7)


def test_a_limit_applies_to_its_model_or_to_all():
    one = Limit(name="a", scope="key", amount=60, window="day", model="sm")
    every = Limit(name="a", scope="key", amount=60, window="day", model=EVERY_MODEL)
    assert (one.applies_to("sm"), one.applies_to("lg"), every.applies_to("lg")) == (True, False, True)


def test_a_counter_is_named_by_what_it_counts_alone():
    one = Limit(name="a", scope="key", amount=60, window="hour", burst=3, shadow=True, since=9)
    same = Limit(name="b", scope="key", amount=1, window="hour")
    assert one.identity == same.identity
    for other in (
        replace(one, scope="account"),
        replace(one, window="day"),
        replace(one, unit="units"),
        replace(one, model="sm"),
    ):
        assert other.identity != one.identity
