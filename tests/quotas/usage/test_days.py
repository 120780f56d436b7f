"""Days are the sum of their hours, also after late hours, crashes, and with concurrent workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import sleep

import pytest
from django.db import connections
from django.db.models import Sum
from django.utils import timezone

from accounts.ledger_worker import Worker
from quotas.limits import hour_of
from quotas.models import DaysKept, RefusalDay, RefusalHour, UsageDay, UsageHour
from quotas.usage import days, ledger

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = "AAAAAAAAkkkkkkk1"


def counted(at: datetime, allowed: int, birth: int = 1, key: str = KEY) -> ledger.CountedHour:
    """A usage hash, as if read from Redis."""
    return ledger.CountedHour("name", key, "sm", hour_of(at), {"a": str(allowed), "b": str(birth), "x": "1"})


def sums() -> dict[datetime, int]:
    return dict(UsageDay.objects.values_list("day").annotate(sum=Sum("allowed")).order_by("day"))


def test_a_day_is_the_sum_of_its_hours_and_births():
    ledger.keep_hours(
        [counted(NOON, 3), counted(NOON, 4, birth=2), counted(NOON + HOUR, 5), counted(NOON + 12 * HOUR, 6)]
    )
    assert sums() == {days.day_start(NOON): 12, days.day_start(NOON) + days.DAY: 6}
    day = UsageDay.objects.first()
    assert day is not None
    assert (day.account, day.key, day.model, day.units) == (KEY[:8], KEY, "sm", 7)


def test_a_late_or_repeated_hour_corrects_its_day():
    ledger.keep_hours([counted(NOON, 3)])
    ledger.keep_hours([counted(NOON, 3)])
    ledger.keep_hours([counted(NOON - 5 * HOUR, 10)])
    ledger.keep_hours([counted(NOON, 2)])  # an older copy
    assert sums() == {days.day_start(NOON): 13}


def test_a_crash_leaves_neither_the_hour_nor_the_day(monkeypatch):
    ledger.keep_hours([counted(NOON, 3)])

    def die(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(days, "add_up", die)
        with pytest.raises(RuntimeError):
            ledger.keep_hours([counted(NOON + HOUR, 4)])
    assert sums() == {days.day_start(NOON): 3}
    assert UsageHour.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_copy_hours_of_one_day_at_once_miss_none(monkeypatch):
    add_up = days.add_up

    def add_up_and_linger(*args) -> None:
        add_up(*args)
        sleep(0.01)  # before the commit: a worker that does not wait would miss these hours

    monkeypatch.setattr(days, "add_up", add_up_and_linger)

    def store(number: int) -> None:
        ledger.keep_hours([counted(NOON - 12 * HOUR + number % 24 * HOUR, number + 1)])
        connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(48)))
    hours = UsageHour.objects.aggregate(sum=Sum("allowed"))["sum"]
    assert hours == sum(range(25, 49))
    assert sums() == {days.day_start(NOON): hours}


def test_a_turn_of_the_worker_backfills_missing_days(redis_db, catalogue):
    for number in range(5):
        UsageHour.objects.create(
            account=KEY[:8], key=KEY, model="sm", hour=NOON - number * days.DAY * 9, birth=1, allowed=1, units=1
        )
    worker = Worker()
    for _ in range(3):
        worker.turn()
    assert UsageDay.objects.count() == 5
    assert DaysKept.objects.get().since == days.ALL_DAYS


def test_refusals_are_backfilled_with_the_calls():
    of = {"account": KEY[:8], "key": KEY, "model": "sm", "hour": NOON, "birth": 1}
    UsageHour.objects.create(**of, allowed=1, units=1)
    RefusalHour.objects.create(**of, reason="paused_key", by_limit="", calls=3)
    days.keep_days(60)
    assert RefusalDay.objects.get().calls == 3


def test_days_are_complete_from_the_day_after_the_first_worker_began():
    """Of its own day, hours may have been written before it."""
    days.lock_usage()
    assert days.complete_since() == days.day_start(timezone.now()) + days.DAY


@pytest.mark.django_db(transaction=True)
def test_two_that_fill_in_days_at_once_are_harmless():
    for number in range(40):
        UsageHour.objects.create(
            account=KEY[:8], key=KEY, model="sm", hour=NOON - number * days.DAY, birth=1, allowed=number, units=number
        )

    def keep(_) -> int:
        try:
            return days.keep_days(60)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(keep, range(3))) == 40
    assert sums() == {days.day_start(NOON) - n * days.DAY: n for n in range(40)}
