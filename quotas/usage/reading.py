"""Reads usage by hour, day or month, or as one total, for keys, models and accounts.

Partial days, and days not added up yet, come from `UsageHour`, whole days from `UsageDay`. Where sums of days will do
(quotas/usage/sums.py), they are read instead, and of the days only what they have beyond the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from quotas.usage.days import COUNTS, DAY, USAGE, Summed, complete_since, day_start
from quotas.usage.sums import in_sql

HOUR = timedelta(hours=1)
INTERVALS = ("hour", "day", "month", "total")
GROUPS = ("account", "key", "model")
SUMS = ", ".join(f"SUM({count})" for count in COUNTS)
_FIRST_INTERVALS = (1, 16)  # read before the rest of a long range

Position = tuple[datetime, tuple[str, ...]]


class UsageRow(NamedTuple):
    """Totals over an interval; None for columns it is not grouped by."""

    start: datetime
    end: datetime
    account: str | None
    key: str | None
    model: str | None
    allowed: int
    refused: int
    shadow_refused: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSelection:
    """Which usage to read: from `start` up to `end`, both on the hour. `accounts` None means every account."""

    start: datetime
    end: datetime
    interval: str = "total"
    groups: tuple[str, ...] = ()
    accounts: tuple[str, ...] | None = None
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    newest_first: bool = False

    def position(self, row: UsageRow) -> Position:
        """A row's position, from which the next page continues."""
        return self._begin(row.start), tuple(str(getattr(row, group)) for group in self.groups)

    def _begin(self, moment: datetime) -> datetime:
        """The start of the interval that contains a moment, even where it lies before `start`."""
        match self.interval:
            case "hour":
                return moment
            case "day":
                return day_start(moment)
            case "month":
                return month_start(moment)
        return self.start

    @property
    def _longest(self) -> timedelta:
        return {"hour": HOUR, "day": DAY}.get(self.interval, 31 * DAY)

    def _after(self, moment: datetime) -> datetime:
        """The end of the interval beginning at a moment."""
        match self.interval:
            case "hour":
                return moment + HOUR
            case "day":
                return moment + DAY
            case "month":
                return month_start(moment + 32 * DAY)
        return self.end

    @property
    def has_time(self) -> bool:
        return self.interval != "total"

    @property
    def by_months(self) -> bool:
        """Whether nothing finer than a month is asked for."""
        return self.interval in ("month", "total")

    def filters(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Columns, with the values allowed in each."""
        if self.accounts is not None:
            yield "account", self.accounts
        if self.keys:
            yield "key", self.keys
        if self.models:
            yield "model", self.models

    def cut(self, begin: datetime) -> tuple[datetime, datetime]:
        """The requested part of the interval beginning there."""
        return max(begin, self.start), min(self._after(begin), self.end)

    def going_on(self, after: Position | None) -> UsageSelection:
        """The same selection without the intervals that lie wholly before a position."""
        if after is None:
            return self
        if self.newest_first:
            return replace(self, end=min(self.end, self._after(after[0])))
        return replace(self, start=max(self.start, after[0]))


def month_start(moment: datetime) -> datetime:
    return day_start(moment).replace(day=1)


def is_full_hour(moment: datetime) -> bool:
    return not (moment.astimezone(UTC).minute or moment.second or moment.microsecond)


def read_usage(selection: UsageSelection, *, most: int, after: Position | None = None) -> list[UsageRow]:
    """At most `most` rows, ordered by time and groups; only those after a position, if given."""
    rows: list[UsageRow] = []
    since = complete_since() if selection.interval != "hour" else None
    for stretch in _stretches(selection.going_on(after)):
        rows += _read(stretch, selection, since, most - len(rows), after)
        if len(rows) == most:
            break
    return rows


def _read(
    stretch: UsageSelection, whole: UsageSelection, since: datetime | None, most: int, after: Position | None
) -> list[UsageRow]:
    parts = list(parts_of(stretch, USAGE, since))
    if not parts:
        return []
    statement, values = _statement(whole, parts, after)
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} LIMIT %s", [*values, most])
        return [row_of(whole, found) for found in cursor.fetchall()]


def _stretches(selection: UsageSelection) -> Iterator[UsageSelection]:
    """By time and key a page soon fills up: read one interval, then a few, and only then all others, instead of sorting
    the whole range for a few rows."""
    left = selection
    if "key" in selection.groups and selection.has_time and not selection.keys:
        for intervals in _FIRST_INTERVALS:
            if selection.newest_first:
                cut = max(left.start, selection._begin(left.end - intervals * selection._longest))
                yield replace(left, start=cut)
                left = replace(left, end=cut)
            else:
                cut = min(left.end, selection._begin(left.start + intervals * selection._longest))
                yield replace(left, end=cut)
                left = replace(left, start=cut)
            if left.start >= left.end:
                return
    yield left


def read_all(selection: UsageSelection, page: int = 5000) -> Iterator[UsageRow]:
    """All rows, read a page at a time, so memory is bounded and no transaction stays open in between."""
    after = None
    while rows := read_usage(selection, most=page, after=after):
        yield from rows
        if len(rows) < page:
            return
        after = selection.position(rows[-1])


class Part(NamedTuple):
    """A time range in one of the tables; `is_beyond`: only what days have beyond the sums."""

    table: str
    column: str
    start: datetime
    end: datetime
    is_beyond: bool = False

    def counts(self, of: Summed) -> list[str]:
        return [f"{count} - summed_{count} AS {count}" if self.is_beyond else count for count in of.counts]


def parts_of(selection: UsageSelection, of: Summed, since: datetime | None) -> Iterator[Part]:
    """Whole days from complete days or sums of them, the rest from hours. `since`: the first complete day."""
    hours = of.hours._meta.db_table
    start, end = selection.start, selection.end
    first = max(_up(start, day_start, DAY), since) if since and selection.interval != "hour" else end
    last = day_start(end)
    if first < last:
        ragged = [Part(hours, "hour", start, first), *_days(selection, of, first, last), Part(hours, "hour", last, end)]
    else:
        ragged = [Part(hours, "hour", start, end)]
    return (part for part in ragged if part.start < part.end)


def _days(selection: UsageSelection, of: Summed, start: datetime, end: datetime) -> Iterator[Part]:
    """Whole days. Without keys, an account has one row a day; for keys, or all accounts, there are fewer by month."""
    days = Part(of.days._meta.db_table, "day", start, end)
    knows_keys = bool(selection.keys) or "key" in selection.groups
    of_accounts = of.of_accounts if not knows_keys else None
    fine = days if of_accounts is None else days._replace(table=of_accounts._meta.db_table)
    first, last = _up(start, month_start, 31 * DAY), month_start(end)
    has_months = first < last and selection.by_months and (of_accounts is None or selection.accounts is None)
    if has_months:
        yield fine._replace(end=first)
        yield Part(of.months._meta.db_table, "month", first, last)
        yield fine._replace(start=last)
    else:
        yield fine
    if of_accounts is not None:
        yield days._replace(is_beyond=True)
    elif has_months:
        yield days._replace(start=first, end=last, is_beyond=True)


def _up(moment: datetime, floor: Callable[[datetime], datetime], longest: timedelta) -> datetime:
    """The beginning of the first interval that does not begin before a moment."""
    return moment if floor(moment) == moment else floor(floor(moment) + longest)


def where(part: Part, selection: UsageSelection, of: Summed) -> tuple[str, list[Any]]:
    """The condition for a part's rows in SQL, with the values that are bound."""
    condition = f"{part.column} >= %s AND {part.column} < %s"
    if part.is_beyond:
        condition += f" AND {in_sql(of.counts)}"
    values: list[Any] = [_adapt(part.start), _adapt(part.end)]
    # SQLite knows no sizes: it would go by the account, through all of its days. A plus keeps it from that.
    plus = "+" if part.is_beyond and connection.vendor == "sqlite" else ""
    for name, wanted in selection.filters():
        condition += f' AND {plus}"{name}" IN ({", ".join(["%s"] * len(wanted)) or "NULL"})'
        values += wanted
    return condition, values


def all_of(selection: UsageSelection, parts: Sequence[Part]) -> tuple[str, list[Any]]:
    """The rows of all parts, with their interval and groups. The text consists of names in this file; all values are
    bound."""
    by = [f'"{group}"' for group in selection.groups]
    values: list[Any] = []
    tables = []
    for part in parts:
        time = [f"{_begin_of(selection.interval, part.column)} AS at"] if selection.has_time else []
        condition, bound = where(part, selection, USAGE)
        values += bound
        counts = part.counts(USAGE)
        tables.append(f"SELECT {', '.join([*time, *by, *counts])} FROM {part.table} WHERE {condition}")  # noqa: S608
    return f"({' UNION ALL '.join(tables)}) AS usage", values


def _statement(selection: UsageSelection, parts: Sequence[Part], after: Position | None) -> tuple[str, list[Any]]:
    """One statement for all parts."""
    columns = [*(["at"] if selection.has_time else []), *(f'"{group}"' for group in selection.groups)]
    rows, values = all_of(selection, parts)
    statement = f"SELECT {', '.join([*columns, SUMS])} FROM {rows}"  # noqa: S608
    if not columns:
        return f"{statement} HAVING COUNT(*) > 0", values
    statement += f" GROUP BY {', '.join(columns)}"
    if after is not None:
        sign = "<" if selection.newest_first else ">"
        statement += f" HAVING ({', '.join(columns)}) {sign} ({', '.join(['%s'] * len(columns))})"
        values += [*([_adapt(after[0])] if selection.has_time else []), *after[1]]
    direction = " DESC" if selection.newest_first else ""
    return f"{statement} ORDER BY {', '.join(column + direction for column in columns)}", values


def _begin_of(interval: str, column: str) -> str:
    """The interval's start in SQL; the plain column where possible, so that its index is used."""
    if connection.vendor == "postgresql":
        return column if interval in ("hour", column) else f"date_trunc('{interval}', {column}, 'UTC')"
    # SQLite stores text; the ledger's carries an offset, always UTC's.
    length, rest = {"hour": (19, ""), "day": (10, " 00:00:00"), "month": (7, "-01 00:00:00")}[interval]
    return f"substr({column}, 1, {length}) || '{rest}'"


def _adapt(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def row_of(selection: UsageSelection, found: Sequence[Any]) -> UsageRow:
    values = list(found)
    begin = selection.start
    if selection.has_time:
        begin = values.pop(0)
        begin = (datetime.fromisoformat(begin) if isinstance(begin, str) else begin).replace(tzinfo=UTC)
    groups = dict(zip(selection.groups, values, strict=False))
    start, end = selection.cut(begin)
    counts = (int(count) for count in values[len(selection.groups) :])
    return UsageRow(start, end, groups.get("account"), groups.get("key"), groups.get("model"), *counts)
