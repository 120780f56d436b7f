"""Sums of days plus what days have beyond them are the days, whatever happened when and in which version."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import product
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.ledger_worker import Worker
from quotas.limits import hour_of
from quotas.models import AccountDay, DaysKept, RefusalDay, RefusalMonth, UsageDay, UsageHour, UsageMonth
from quotas.usage import days, ledger, sums
from quotas.usage.days import ALL_DAYS, DAY, KINDS, REFUSALS, USAGE
from quotas.usage.reading import GROUPS, Part, UsageSelection, parts_of, read_all, where
from quotas.usage.refusals import read_refusals
from quotas.usage.tables import beyond

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 20, tzinfo=UTC)
END = START + 75 * DAY
KEYS = ("AAAAAAAAkkkkkkk1", "AAAAAAAAkkkkkkk2", "BBBBBBBBkkkkkkk1")
SELECTIONS = [
    UsageSelection(start=start, end=end, interval=interval, groups=groups, **filters)
    for start, end in ((START, END), (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)))
    for interval, groups, filters in (
        ("month", ("key",), {}),
        ("month", ("account", "model"), {}),
        ("total", (), {}),
        ("total", GROUPS, {"accounts": ("AAAAAAAA",)}),
        ("day", ("model",), {"accounts": ("AAAAAAAA",)}),
        ("month", (), {"accounts": ("AAAAAAAA", "BBBBBBBB"), "models": ("lg",)}),
        ("month", ("model",), {"keys": KEYS[:1]}),
    )
]


def tables_of(selection: UsageSelection) -> list[str]:
    return [part.table for part in parts_of(selection, USAGE, ALL_DAYS)]


def from_hours(selection: UsageSelection) -> list[Any]:
    """The same read while no day is known to be complete."""
    since = DaysKept.objects.get().since
    DaysKept.objects.update(since=END + DAY)
    try:
        return list(read_all(selection))
    finally:
        DaysKept.objects.update(since=since)


def everything() -> list[Any]:
    return [list(read_all(selection)) for selection in SELECTIONS]


def nothing_differs() -> None:
    for selection in SELECTIONS:
        assert list(read_all(selection)) == from_hours(selection), selection


def changed(at: datetime, key: str = KEYS[0], calls: int = 1, birth: int = 1) -> None:
    """What the worker does with a copied hour, in this version and in the one before."""
    raw = {"a": str(calls), "b": str(birth), "r": "2", "r:unknown_model": "2"}
    ledger.keep_hours([ledger.CountedHour("", key, "sm", hour_of(at), raw)])


def a_quarter() -> None:
    dice = random.Random(7)
    hours = [
        UsageHour(
            account=key[:8],
            key=key,
            model=model,
            hour=START + number * DAY,
            birth=1,
            allowed=dice.randrange(1, 9),
            refused=dice.randrange(3),
            units=50,
        )
        for key, model, number in product(KEYS, ("sm", "lg"), range(75))
    ]
    UsageHour.objects.bulk_create(hours, batch_size=500)
    days.keep_days(60)


@pytest.fixture
def quarter():
    a_quarter()


def test_long_ranges_are_read_from_sums_and_only_the_rest_from_days(quarter):
    assert sums.keep_sums(60) == 75
    by_key, by_day = SELECTIONS[0], SELECTIONS[4]
    assert tables_of(by_key) == ["quotas_usageday", "quotas_usagemonth", "quotas_usageday", "quotas_usageday"]
    assert tables_of(by_day) == ["quotas_accountday", "quotas_usageday"]
    before = everything()
    UsageDay.objects.filter(day__gte=datetime(2026, 2, 1, tzinfo=UTC), day__lt=datetime(2026, 4, 1, tzinfo=UTC)).update(
        allowed=0, refused=0, shadow_refused=0, units=0,
        summed_allowed=0, summed_refused=0, summed_shadow_refused=0, summed_units=0,
    )  # fmt: skip
    assert everything() == before


def test_days_that_are_not_summed_yet_are_read_all_the_same(quarter):
    nothing_differs()
    for _ in range(40):
        assert sums.sum_a_day()
    nothing_differs()
    assert AccountDay.objects.values("day").distinct().count() == 40


def test_a_day_that_changes_later_is_summed_again(quarter):
    sums.keep_sums(60)
    changed(START + DAY, calls=100)
    changed(START + 200 * timedelta(hours=1), calls=7, birth=9)
    nothing_differs()
    assert sums.keep_sums(60) == 2
    assert not UsageDay.objects.filter(beyond(*USAGE.counts)).exists()
    nothing_differs()


def test_a_row_of_a_version_that_knows_no_sums_counts_from_its_first_moment(quarter):
    sums.keep_sums(60)
    at = connection.ops.adapt_datetimefield_value(START + 20 * DAY)
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO quotas_usageday (day, account, "key", model, allowed, refused, shadow_refused, units) '
            "VALUES (%s, 'AAAAAAAA', 'AAAAAAAAkkkkkkk3', 'sm', 5, 1, 0, 5)",
            [at],
        )
    month = UsageSelection(
        start=datetime(2026, 2, 1, tzinfo=UTC), end=datetime(2026, 3, 1, tzinfo=UTC), interval="month", groups=("key",)
    )
    found = {row.key: row.allowed for row in read_all(month)}
    assert found["AAAAAAAAkkkkkkk3"] == 5
    sums.keep_sums(60)
    assert {row.key: row.allowed for row in read_all(month)} == found


def test_a_correction_by_hand_may_also_lower_a_day(quarter):
    sums.keep_sums(60)
    hour = UsageHour.objects.filter(hour=START + 20 * DAY, key=KEYS[0]).first()
    assert hour is not None
    UsageHour.objects.filter(pk=hour.pk).update(allowed=0, refused=0, units=0)
    with transaction.atomic():
        days.lock_usage()
        days.add_up([(hour.key, hour.model, days.day_start(hour.hour))])
    nothing_differs()
    assert sums.keep_sums(60) == 1
    nothing_differs()


def test_a_day_is_summed_three_hours_after_its_end_and_no_earlier(quarter, monkeypatch):
    at_rest = START + 10 * DAY + timedelta(hours=3)
    monkeypatch.setattr("django.utils.timezone.now", lambda: at_rest - timedelta(seconds=1))
    assert sums.keep_sums(60) == 9
    monkeypatch.setattr("django.utils.timezone.now", lambda: at_rest)
    assert sums.keep_sums(60) == 1


def test_what_is_copied_while_a_sum_waits_for_the_lock_is_in_it(quarter, monkeypatch):
    def waits():
        changed(START, calls=1000, birth=9)
        return days.lock_usage()

    monkeypatch.setattr(sums, "lock_usage", waits)
    assert sums.sum_a_day()
    assert AccountDay.objects.get(account="AAAAAAAA", day=START, model="sm").allowed > 1000
    assert not UsageDay.objects.filter(beyond(*USAGE.counts), day=START).exists()


def test_after_rows_were_deleted_by_hand_usage_is_summed_again(quarter):
    sums.keep_sums(60)
    gone = UsageDay.objects.filter(day=START + 20 * DAY)
    UsageHour.objects.filter(hour=START + 20 * DAY).delete()
    gone.delete()
    assert everything() != [from_hours(selection) for selection in SELECTIONS]
    call_command("sum_usage_again", stdout=StringIO())
    assert not UsageMonth.objects.exists()
    nothing_differs()
    assert sums.keep_sums(60) == 74
    nothing_differs()


def test_a_crash_between_adding_and_marking_leaves_neither(quarter, monkeypatch):
    adding = sums._adding

    def die_before_marking(of, to, identity):
        if to is AccountDay:
            assert UsageMonth.objects.exists()
            raise RuntimeError("killed")
        return adding(of, to, identity)

    with monkeypatch.context() as patch:
        patch.setattr(sums, "_adding", die_before_marking)
        with pytest.raises(RuntimeError):
            sums.sum_a_day()
    assert not UsageMonth.objects.exists()
    assert not UsageDay.objects.filter(summed_allowed__gt=0).exists()
    nothing_differs()


def test_sums_are_of_whole_months(quarter):
    sums.keep_sums(60)
    months = list(UsageMonth.objects.values_list("key", "model", "month"))
    assert {month.day for *_, month in months} == {1}
    assert len(set(months)) == len(months)


@pytest.mark.parametrize("act", [sums.sum_a_day, sums.begin_anew])
def test_sums_change_under_the_lock_of_those_who_change_days(quarter, monkeypatch, act):
    """On SQLite a transaction is a lock as well; on PostgreSQL only this one keeps a day from changing meanwhile."""
    locked_with: list[bool] = []

    def lock() -> None:
        assert connection.in_atomic_block
        locked_with.append(UsageMonth.objects.exists())

    assert sums.sum_a_day()
    UsageMonth.objects.all().delete()
    monkeypatch.setattr(sums, "lock_usage", lock)
    act()
    assert locked_with == [False]


def test_refusals_are_summed_by_month_and_read_the_same():
    for number in range(70):
        changed(START + number * DAY, key=KEYS[number % 3])
    DaysKept.objects.update(since=ALL_DAYS)
    selections = [
        UsageSelection(start=START, end=END, groups=groups, accounts=accounts)
        for groups in (("key",), ("model", "account"), ())
        for accounts in (None, ("AAAAAAAA",))
    ]
    before = [read_refusals(selection, most=100) for selection in selections]
    assert sums.keep_sums(60) == 70
    assert [read_refusals(selection, most=100) for selection in selections] == before
    assert "quotas_refusalmonth" in [part.table for part in parts_of(selections[0], REFUSALS, ALL_DAYS)]
    RefusalDay.objects.filter(day=START + 20 * DAY).update(calls=50)
    (row,) = read_refusals(selections[-2], most=100)
    assert row.calls == 2 * 70 + 48


def test_a_turn_of_the_worker_sums_days(redis_db, catalogue):
    changed(START)
    Worker().turn()
    assert UsageMonth.objects.count() == AccountDay.objects.count() == RefusalMonth.objects.count() == 1


def many_days(of: days.Summed) -> None:
    """A table that is large enough for a database to care, and in the sums but for one row."""
    counts = {name: 3 for count in of.counts for name in (count, f"summed_{count}")}
    rows = [
        of.days(account="AAAAAAAA", key=f"AAAAAAAA{key:08}", model="sm", day=START + day * DAY, **counts)
        for key, day in product(range(100), range(75))
    ]
    setattr(rows[0], of.counts[0], 4)
    of.days._default_manager.bulk_create(rows, batch_size=500)


@pytest.mark.parametrize("of", KINDS, ids=("usage", "refusals"))
def test_days_to_sum_are_found_by_their_index(of):
    """Without it the worker would read a year of days twice a second, and so would each reader."""
    many_days(of)
    part = Part(of.days._meta.db_table, "day", START, END, is_beyond=True)
    read, values = where(part, UsageSelection(start=START, end=END, accounts=("AAAAAAAA",)), of)
    oldest, before = sums.at_rest(of, END)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
        for statement, bound in (
            (f"SELECT {part.counts(of)[0]} FROM {part.table} WHERE {read}", values),
            (oldest, before),
        ):
            cursor.execute(f"{explain} {statement}", bound)
            assert "_to_sum" in str(cursor.fetchall())
            cursor.execute(statement, bound)
            assert len(cursor.fetchall()) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_sum_and_copy_at_once_lose_and_double_nothing():
    a_quarter()
    dice = random.Random(3)
    late = [(START + dice.randrange(70 * 24) * timedelta(hours=1), dice.choice(KEYS), n + 1) for n in range(40)]

    def work(number: int) -> None:
        try:
            if number % 2:
                changed(*late[number // 2])
            else:
                sums.keep_sums(0.05)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(80)))
    nothing_differs()
    sums.keep_sums(60)
    nothing_differs()


ACTS = st.one_of(
    st.tuples(st.just("copy"), st.integers(0, 74 * 24), st.integers(0, 2), st.integers(1, 9), st.integers(1, 2)),
    st.tuples(st.just("sum"), st.integers(1, 30)),
    st.tuples(st.just("begin anew"), st.integers(0, 74)),
)


def in_this_order(acts: list[Any]) -> None:
    """A worker of this version, and one of the version before, which copies and does not sum."""
    with transaction.atomic():
        DaysKept.objects.update_or_create(pk=1, defaults={"since": ALL_DAYS})
        for act, *values in acts:
            if act == "copy":
                hour, key, calls, birth = values
                changed(START + hour * timedelta(hours=1), KEYS[key], calls, birth)
            elif act == "sum":
                for _ in range(values[0]):
                    sums.sum_a_day()
            else:  # days before this one are still to be backfilled
                DaysKept.objects.update(since=START + values[0] * DAY)
        nothing_differs()
        transaction.set_rollback(True)


@settings(max_examples=25, deadline=None)
@given(acts=st.lists(ACTS, max_size=15))
def test_any_order_of_copies_and_sums_reads_as_the_hours_do(acts):
    in_this_order(acts)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(acts=st.lists(ACTS, max_size=40))
def test_many_orders_of_copies_and_sums_read_as_the_hours_do(acts):
    in_this_order(acts)
