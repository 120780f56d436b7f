"""Reading usage: totals over any interval and group, the same from days as from hours."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from quotas.models import DaysKept, UsageDay, UsageHour
from quotas.usage import days
from quotas.usage.ranking import read_most_used
from quotas.usage.reading import GROUPS, INTERVALS, UsageSelection, is_full_hour, month_start, read_all, read_usage

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 28, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEYS = ("AAAAAAAAkkkkkkk1", "AAAAAAAAkkkkkkk2", "BBBBBBBBkkkkkkk1")


def hour(key: str, model: str, at: datetime, birth: int = 1, allowed: int = 1, refused: int = 0) -> UsageHour:
    return UsageHour(
        account=key[:8], key=key, model=model, hour=at, birth=birth, allowed=allowed, refused=refused, units=2 * allowed
    )


@pytest.fixture
def written() -> list[UsageHour]:
    """Five weeks with gaps, some hours in two births."""
    rng = random.Random(4)
    rows = [
        hour(key, model, START + number * HOUR, birth, rng.randrange(9), rng.randrange(3))
        for key, model, number in product(KEYS, ("sm", "lg"), range(35 * 24))
        for birth in range(rng.choice((0, 0, 0, 1, 2)))
    ]
    UsageHour.objects.bulk_create(rows, batch_size=2000)
    return rows


def kept() -> None:
    assert days.keep_days(60) > 0
    assert days.complete_since() == days.ALL_DAYS


def begin_of(moment: datetime, interval: str, start: datetime) -> datetime:
    begins = {"hour": moment, "day": days.day_start(moment), "month": month_start(moment), "total": start}
    return max(begins[interval], start)


def by_hand(rows: list[UsageHour], selection: UsageSelection) -> list[Any]:
    sums: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        if not selection.start <= row.hour < selection.end:
            continue
        if any(getattr(row, name) not in wanted for name, wanted in selection.filters()):
            continue
        groups = tuple(getattr(row, group) for group in selection.groups)
        total = sums[begin_of(row.hour, selection.interval, selection.start), *groups]
        for place, count in enumerate((row.allowed, row.refused, row.units)):
            total[place] += count
    return sorted((place, tuple(total)) for place, total in sums.items())


def as_read(selection: UsageSelection) -> list[Any]:
    rows = read_all(selection, page=7)
    return [
        ((row.start, *(getattr(row, g) for g in selection.groups)), (row.allowed, row.refused, row.units))
        for row in rows
    ]


SPANS = {
    "whole days": (days.day_start(START + DAY), days.day_start(START + 20 * DAY)),
    "ragged ends": (START + 3 * HOUR, START + 20 * DAY + 7 * HOUR),
    "within a day": (START + DAY, START + DAY + 5 * HOUR),
    "over two midnights": (START + 20 * HOUR, START + 2 * DAY),
}


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("span", SPANS)
def test_every_grouping_is_what_adding_up_hours_gives(written, interval, span):
    start, end = SPANS[span]
    if interval == "hour":
        end = min(end, start + 2 * DAY)
    for has_days in (False, True):
        if has_days:
            kept()
        for groups in ((), ("key",), ("model", "account"), GROUPS):
            selection = UsageSelection(start=start, end=end, interval=interval, groups=groups)
            assert as_read(selection) == by_hand(written, selection)


def test_filters_hold_for_days_and_hours(written):
    kept()
    for filters in ({"accounts": ("AAAAAAAA",)}, {"keys": KEYS[:1], "models": ("lg",)}, {"accounts": ()}):
        selection = UsageSelection(start=START + HOUR, end=START + 30 * DAY, interval="day", groups=("key",), **filters)
        assert as_read(selection) == by_hand(written, selection)


@pytest.mark.parametrize("interval", INTERVALS)
def test_newest_first_is_the_same_rows_in_reverse(written, interval):
    kept()
    forwards = UsageSelection(start=START + HOUR, end=START + 3 * DAY, interval=interval, groups=("key", "model"))
    backwards = UsageSelection(
        **{name: getattr(forwards, name) for name in ("start", "end", "interval", "groups")}, newest_first=True
    )
    assert as_read(backwards) == as_read(forwards)[::-1]


def test_the_requested_range_cuts_the_first_and_the_last_interval(written):
    selection = UsageSelection(start=START + HOUR, end=START + 2 * DAY + HOUR, interval="day")
    rows = read_usage(selection, most=10)
    assert (rows[0].start, rows[0].end) == (START + HOUR, days.day_start(START) + DAY)
    assert rows[-1].end == selection.end


def test_no_usage_is_no_row():
    for interval in INTERVALS:
        assert list(read_all(UsageSelection(start=START, end=START + DAY, interval=interval))) == []


def test_whole_days_are_read_from_days_and_not_from_hours(written):
    kept()
    UsageDay.objects.update(allowed=1000, units=1000)
    (row,) = read_usage(
        UsageSelection(
            start=days.day_start(START + DAY), end=days.day_start(START + 2 * DAY), keys=KEYS[:1], models=("sm",)
        ),
        most=2,
    )
    assert row.allowed == 1000
    (row,) = read_usage(
        UsageSelection(
            start=days.day_start(START + DAY), end=days.day_start(START + 2 * DAY) - HOUR, keys=KEYS[:1], models=("sm",)
        ),
        most=2,
    )
    assert row.allowed < 1000


def test_days_that_are_not_added_up_yet_are_read_from_hours(written):
    selection = UsageSelection(start=START, end=START + 40 * DAY, interval="month", groups=("account",))
    assert days._keep_one_more() and days._keep_one_more()
    assert UsageDay.objects.values("day").distinct().count() == 2
    assert as_read(selection) == by_hand(written, selection)
    assert DaysKept.objects.get().since > days.ALL_DAYS


def test_a_page_costs_two_statements_however_long_it_is(written, django_assert_num_queries):
    kept()
    for most in (1, 1000):
        with django_assert_num_queries(2):
            read_usage(UsageSelection(start=START, end=START + 40 * DAY, interval="day", groups=("model",)), most=most)


@pytest.mark.parametrize(("most", "statements"), [(6, 2), (7, 3), (96, 3), (1000, 4)])
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_page_by_key_reads_only_as_much_time_as_it_has_rows(
    most, statements, newest_first, django_assert_num_queries
):
    UsageHour.objects.bulk_create(
        hour(key, model, START + number * DAY) for key, model, number in product(KEYS, ("sm", "lg"), range(40))
    )
    kept()
    selection = UsageSelection(
        start=START, end=START + 40 * DAY, interval="day", groups=GROUPS, newest_first=newest_first
    )
    whole = sorted(as_read(replace(selection, newest_first=False)), reverse=newest_first)
    with django_assert_num_queries(statements):
        rows = read_usage(selection, most=most)
    assert [row.start for row in rows] == [place[0] for place, _ in whole[:most]]


@pytest.mark.parametrize(
    ("moment", "is_full"),
    [
        ("2026-01-31T05:00:00+00:00", True),
        ("2026-01-31T05:30:00+05:30", True),
        ("2026-01-31T05:00:00+05:30", False),
        ("2026-01-31T05:01:00+00:00", False),
        ("2026-01-31T05:00:01+00:00", False),
        ("2026-01-31T05:00:00.000001+00:00", False),
    ],
)
def test_an_hour_is_full_in_utc_and_to_the_microsecond(moment, is_full):
    assert is_full_hour(datetime.fromisoformat(moment)) is is_full


def test_the_day_of_a_moment_is_that_of_utc():
    moment = datetime.fromisoformat("2026-02-01T01:00:00+02:00")
    assert days.day_start(moment) == datetime(2026, 1, 31, tzinfo=UTC)
    assert month_start(moment) == datetime(2026, 1, 1, tzinfo=UTC)


def test_with_equally_many_calls_those_that_were_refused_more_come_first(catalogue):
    counts = {
        "AAAAAAAAkkkkkkk1": (5, 1),
        "AAAAAAAAkkkkkkk2": (5, 3),
        "AAAAAAAAkkkkkkk3": (6, 0),
        "AAAAAAAAkkkkkkk0": (5, 1),
    }
    UsageHour.objects.bulk_create(hour(key, "sm", START, 1, *both) for key, both in counts.items())
    selection = UsageSelection(start=START, end=START + DAY, groups=("key",))
    found = read_most_used(selection, most=3)
    assert [row.key and row.key[-1] for row in found.rows] == ["3", "2", "0"] and found.in_all == 4
