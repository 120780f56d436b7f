"""`UsageHour` → `UsageDay`, `RefusalHour` → `RefusalDay`: daily totals, so that a year is read from days.

Days are never incremented: each is recomputed from its hours, in the transaction that writes them. So a late hour, a
repeated copy or a crash does no harm. Writers of usage first lock the row of `DaysKept`, because two that compute the
same day concurrently would each miss the other's hours.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Max, Model
from django.utils import timezone

from quotas.models import (
    AccountDay,
    DaysKept,
    RefusalDay,
    RefusalHour,
    RefusalMonth,
    UsageDay,
    UsageHour,
    UsageMonth,
)

DAY = timedelta(days=1)
ALL_DAYS = datetime(1970, 1, 1, tzinfo=UTC)  # `since` once all days are complete
COUNTS = ("allowed", "refused", "shadow_refused", "units")


class Summed(NamedTuple):
    """The tables of one kind of counts: by hour and birth, by day, and the sums of days."""

    hours: type[Model]
    days: type[Model]
    months: type[Model]
    of_accounts: type[Model] | None  # by day, for all keys of an account together
    reason: tuple[str, ...]  # the columns that tell counts of a key and model apart
    counts: tuple[str, ...]


USAGE = Summed(UsageHour, UsageDay, UsageMonth, AccountDay, (), COUNTS)
REFUSALS = Summed(RefusalHour, RefusalDay, RefusalMonth, None, ("reason", "by_limit"), ("calls",))
KINDS = (USAGE, REFUSALS)


def day_start(moment: datetime) -> datetime:
    """Midnight UTC of a moment's day."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def lock_usage() -> DaysKept:
    """Lock usage for writing until the transaction ends. On SQLite the transaction itself is the lock."""
    # Nothing older is known to be complete yet; the worker works backwards from here.
    kept, _ = DaysKept.objects.get_or_create(pk=1, defaults={"since": day_start(timezone.now()) + DAY})
    return DaysKept.objects.select_for_update().get(pk=kept.pk)


def add_up(days: Iterable[tuple[str, str, datetime]], of: Summed = USAGE) -> None:
    """Recompute these days of these keys and models. Call with the lock held."""
    rows = [(day, key, model, day, day + DAY) for key, model, day in sorted(set(days))]
    with connection.cursor() as cursor:
        cursor.executemany(_adding_up(of, '"key" = %s AND model = %s AND'), _bound(rows))


def add_up_all(day: datetime) -> None:
    """Recompute a day for all keys and models. Call with the lock held."""
    with connection.cursor() as cursor:
        for of in KINDS:
            cursor.execute(_adding_up(of), _bound([(day, day, day + DAY)])[0])


def keep_days(seconds: float) -> int:
    """Backfill days whose hours were written without them, newest first, for about `seconds`; return how many."""
    end = monotonic() + seconds
    count = 0
    while monotonic() < end and _keep_one_more():
        count += 1
    return count


def complete_since() -> datetime | None:
    """The day from which `UsageDay` is complete; None before a worker has started."""
    return DaysKept.objects.filter(pk=1).values_list("since", flat=True).first()


def _keep_one_more() -> bool:
    if complete_since() == ALL_DAYS:
        return False
    with transaction.atomic():
        kept = lock_usage()
        newest = UsageHour.objects.filter(hour__lt=kept.since).aggregate(hour=Max("hour"))["hour"]
        if newest is not None:
            add_up_all(day_start(newest))
        kept.since = ALL_DAYS if newest is None else day_start(newest)
        kept.save(update_fields=["since"])
    return newest is not None


def _adding_up(of: Summed, where: str = "") -> str:
    reason = "".join(f", {column}" for column in of.reason)
    return (  # made only of names in this file
        f'INSERT INTO {of.days._meta.db_table} (day, account, "key", model{reason}, {", ".join(of.counts)}) '  # noqa: S608
        f'SELECT %s, account, "key", model{reason}, {", ".join(f"SUM({count})" for count in of.counts)} '
        f"FROM {of.hours._meta.db_table} WHERE {where} hour >= %s AND hour < %s "
        f'GROUP BY account, "key", model{reason} ON CONFLICT ("key", model, day{reason}) DO UPDATE SET '
        + ", ".join(f"{count} = excluded.{count}" for count in of.counts)
    )


def _bound(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Convert times to what each database expects in plain SQL."""
    adapt = connection.ops.adapt_datetimefield_value
    return [[adapt(value) if isinstance(value, datetime) else value for value in row] for row in rows]
