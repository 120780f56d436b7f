"""Reads refusals by reason, the most frequent first, for keys, models and accounts.

Every refused call has one reason. So their sum is what `reading` calls refused, less what older versions counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.db import connection

from quotas.usage.days import REFUSALS, complete_since
from quotas.usage.ledger import OVER_LIMIT, SHADOW_REFUSED
from quotas.usage.reading import UsageSelection, parts_of, where

__all__ = [
    "OVER_LIMIT",
    "LimitName",
    "MostRefused",
    "RefusalRow",
    "most_refused",
    "read_refusals",
    "read_shadow_refusals",
]
_MOST_REASONS = 50  # shown of one key: more than there are, unless it is refused for many models

Position = tuple[Any, ...]


class LimitName(NamedTuple):
    """What tells a limit from the others of its key: its scope, model, unit and window."""

    scope: str
    model: str
    unit: str
    window: str


class RefusalRow(NamedTuple):
    """Calls refused for one reason, a verdict's word; None for columns that they are not grouped by.

    `limit` is the one that refused: of several, the one with the longest wait. None where it was not a limit.
    """

    reason: str
    limit: LimitName | None
    account: str | None
    key: str | None
    model: str | None
    calls: int


class MostRefused(NamedTuple):
    """A key with its refused calls, and the reasons for them by model."""

    account: str
    key: str
    calls: int
    reasons: list[RefusalRow]


def read_refusals(
    selection: UsageSelection, *, most: int, after: Position | None = None, backwards: bool = False
) -> list[RefusalRow]:
    """At most `most` rows, one for each reason and group, the most frequent first; only those after a position."""
    columns = ("reason", "by_limit", *selection.groups)
    found = _sums(selection, columns, f"reason <> '{SHADOW_REFUSED}'", most, after, backwards=backwards)
    return [_row(selection, one) for one in found]


def read_shadow_refusals(selection: UsageSelection, *, most: int) -> list[RefusalRow]:
    """How many allowed calls each limit in shadow would have refused. A call that several would have is in each."""
    found = _sums(selection, ("reason", "by_limit", *selection.groups), f"reason = '{SHADOW_REFUSED}'", most)
    return [_row(selection, one) for one in found]


def most_refused(selection: UsageSelection, *, most: int) -> list[MostRefused]:
    """The keys that were refused most, and why; `accounts` None in the selection means every account."""
    found = _sums(selection, ("account", "key"), f"reason <> '{SHADOW_REFUSED}'", most)
    return [MostRefused(account, key, calls, _reasons(selection, key)) for account, key, calls in found]


def _reasons(selection: UsageSelection, key: str) -> list[RefusalRow]:
    of_key = replace(selection, keys=(key,), accounts=None, groups=("key", "model"))
    return read_refusals(of_key, most=_MOST_REASONS)


def position(selection: UsageSelection, row: RefusalRow) -> Position:
    """A row's position, from which the next page continues."""
    by_limit = "" if row.limit is None else ":".join(row.limit)
    return (row.calls, row.reason, by_limit, *(str(getattr(row, group)) for group in selection.groups))


def _sums(
    selection: UsageSelection,
    columns: Sequence[str],
    condition: str,
    most: int,
    after: Position | None = None,
    *,
    backwards: bool = False,
) -> list[tuple[Any, ...]]:
    """Sums by these columns, the greatest first. The text consists of names in this file; all values are bound."""
    names = ", ".join(f'"{column}"' for column in columns)
    tables, values = [], []
    for part in parts_of(replace(selection, interval="total"), REFUSALS, complete_since()):
        wanted, bound = where(part, selection, REFUSALS)
        calls = part.counts(REFUSALS)[0]
        tables.append(f"SELECT {names}, {calls} FROM {part.table} WHERE {condition} AND {wanted}")  # noqa: S608
        values += bound
    if not tables:
        return []
    statement = f"SELECT {names}, SUM(calls) FROM ({' UNION ALL '.join(tables)}) AS refusals GROUP BY {names}"  # noqa: S608
    order = ", ".join(f"{name}{' DESC' if backwards else ''}" for name in ["-SUM(calls)", *names.split(", ")])
    if after is not None:
        places = ", ".join(["%s"] * len(after))
        statement += f" HAVING (-SUM(calls), {names}) {'<' if backwards else '>'} ({places})"
        values += [-after[0], *after[1:]]
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} ORDER BY {order} LIMIT %s", [*values, most])
        return [(*found[:-1], int(found[-1])) for found in cursor.fetchall()]


def _row(selection: UsageSelection, found: Sequence[Any]) -> RefusalRow:
    reason, by_limit, *values, calls = found
    groups = dict(zip(selection.groups, values, strict=True))
    limit = LimitName(*by_limit.split(":")) if by_limit else None
    return RefusalRow(reason, limit, groups.get("account"), groups.get("key"), groups.get("model"), calls)
