"""`UsageDay` → `UsageMonth` and `AccountDay`, `RefusalDay` → `RefusalMonth`: sums of days, for long ranges.

A day's row records how much of it is in the sums (`summed_…`). So usage is the sums, plus what days have beyond them:
that is exact at every moment, no matter which days were summed, or which have changed since, even by a worker of the
previous version, which knows no sums. The worker sums a day once it has come to rest, and again if it changed later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from quotas.usage.days import KINDS, Summed, day_start, lock_usage

REST = timedelta(hours=3)  # after its end: until then a day's last hours are still copied


def in_sql(counts: Iterable[str]) -> str:
    """`beyond` in the words of its index, which SQLite uses for nothing else."""
    return f"CASE WHEN NOT ({' AND '.join(f'{count} = summed_{count}' for count in counts)}) THEN 1 ELSE 0 END = 1"


def keep_sums(seconds: float) -> int:
    """Sum days that have come to rest, the oldest first, for about `seconds`; return how many."""
    end = monotonic() + seconds
    count = 0
    while monotonic() < end and sum_a_day():
        count += 1
    return count


def sum_a_day() -> bool:
    """Add what the oldest day at rest has beyond the sums; False if every day is in them."""
    day = _oldest()
    if day is None:
        return False
    with transaction.atomic():
        lock_usage()  # or a day could change between being added and being marked
        for of in KINDS:
            _sum(of, day)
    return True


def begin_anew() -> None:
    """Discard the sums: everything is read from days until they are summed again."""
    with transaction.atomic():
        lock_usage()
        with connection.cursor() as cursor:
            for of in KINDS:
                for sums in filter(None, (of.months, of.of_accounts)):
                    cursor.execute(f"DELETE FROM {sums._meta.db_table}")  # noqa: S608
                nothing = ", ".join(f"summed_{count} = 0" for count in of.counts)
                cursor.execute(f"UPDATE {of.days._meta.db_table} SET {nothing}")  # noqa: S608


def _oldest() -> datetime | None:
    before = day_start(timezone.now() - REST)
    found = (_oldest_of(of, before) for of in KINDS)
    return min((day for day in found if day is not None), default=None)


def _oldest_of(of: Summed, before: datetime) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute(*at_rest(of, before))
        (day,) = cursor.fetchone()
    if isinstance(day, str):  # SQLite stores text
        day = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return day_start(day) if day else None


def at_rest(of: Summed, before: datetime) -> tuple[str, list[Any]]:
    """The oldest day that differs. As text, because Django would bind the numbers, and SQLite compares the words."""
    statement = f"SELECT MIN(day) FROM {of.days._meta.db_table} WHERE day < %s AND {in_sql(of.counts)}"  # noqa: S608
    return statement, [connection.ops.adapt_datetimefield_value(before)]


def _sum(of: Summed, day: datetime) -> None:
    at, month = map(connection.ops.adapt_datetimefield_value, (day, day.replace(day=1)))
    marks = ", ".join(f"summed_{count} = {count}" for count in of.counts)
    with connection.cursor() as cursor:
        cursor.execute(_adding(of, of.months, ('"key"', "model", "month", *of.reason)), [month, at])
        if of.of_accounts is not None:
            cursor.execute(_adding(of, of.of_accounts, ("account", "model", "day")), [at, at])
        cursor.execute(f"UPDATE {of.days._meta.db_table} SET {marks} {_rest(of)}", [at])  # noqa: S608


def _adding(of: Summed, to: type[Model], identity: Sequence[str]) -> str:
    """Add what a day has beyond the sums to one of their tables, in SQL that is made of names in this file."""
    table = to._meta.db_table
    columns = ", ".join({"account": None, **dict.fromkeys(identity)})
    values = columns.replace("month", "%s").replace("day", "%s")
    by = ", ".join(column for column in columns.split(", ") if column not in ("month", "day"))
    return (
        f"INSERT INTO {table} ({columns}, {', '.join(of.counts)}) "  # noqa: S608
        f"SELECT {values}, {', '.join(f'SUM({count} - summed_{count})' for count in of.counts)} "
        f"FROM {of.days._meta.db_table} {_rest(of)} GROUP BY {by} "
        f"ON CONFLICT ({', '.join(identity)}) DO UPDATE SET "
        + ", ".join(f"{count} = {table}.{count} + excluded.{count}" for count in of.counts)
    )


def _rest(of: Summed) -> str:
    return f"WHERE day = %s AND {in_sql(of.counts)}"
