"""How many of an account's calls a plan would have refused: at least, as far as usage by the hour can tell.

Usage doesn't say when in an hour a call came. In an hour a smoothed limit lets in its amount for every window and its
room once, however the calls are spread: what exceeds that would certainly have been refused, and bursts would have
cost more. Days and months begin on the hour, so a quota in requests is told exactly. Only calls that were let in are
looked at, because refused ones are mostly repetitions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from quotas.limits import SMOOTHED, Limit, calendar_window, hour_of
from quotas.usage.reading import UsageRow

MICROSECONDS_OF_AN_HOUR = 3600 * 1_000_000


class RefusedByLimit(NamedTuple):
    """What one limit would have refused on its own. `calls` None: this can't be told without usage by key."""

    limit: Limit
    calls: int | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """`at_least` of `calls` would have been refused; `by_model` is part of it: calls to models that the plan lacks."""

    calls: int
    by_model: Mapping[str, int]
    by_limit: tuple[RefusedByLimit, ...]

    @property
    def at_least(self) -> int:
        """A call can be over several limits, so the strictest one counts alone."""
        told = [one.calls for one in self.by_limit if one.calls is not None and not one.limit.shadow]
        return sum(self.by_model.values()) + max(told, default=0)


def forecast(
    rows: Iterable[UsageRow],
    limits: Iterable[Limit],
    models: Collection[str],
    *,
    start: datetime,
    knows_keys: bool = True,
) -> Forecast:
    """As if the account had moved to the plan at `start`: rows before it only use up the quota of their month.

    From usage by the hour, key and model, or without keys by hour and model.
    """
    rows = list(rows)
    counted = [row for row in rows if row.start >= start]
    callable_ = [row for row in rows if row.model in models]
    by_model: dict[str, int] = defaultdict(int)
    for row in counted:
        if row.allowed and row.model not in models:
            by_model[row.model or ""] += row.allowed
    found = tuple(_by_limit(limit, callable_, start, knows_keys=knows_keys) for limit in limits)
    return Forecast(sum(row.allowed for row in counted), dict(by_model), found)


def _by_limit(limit: Limit, rows: list[UsageRow], start: datetime, *, knows_keys: bool) -> RefusedByLimit:
    if limit.scope == "key" and not knows_keys:
        return RefusedByLimit(limit, None)
    applying = [row for row in rows if limit.applies_to(row.model or "")]
    calls = _over_smoothed(limit, applying, start) if limit.is_smoothed else _over_quota(limit, applying, start)
    return RefusedByLimit(limit, calls)


def _subject(row: UsageRow, limit: Limit) -> str:
    return row.key or "" if limit.scope == "key" else ""


@dataclass(slots=True)
class _UsedUp:
    """What a subject took from a limit within some time, with the cost of its dearest call."""

    calls: int = 0
    amount: int = 0
    dearest: int = 1

    def add(self, row: UsageRow, limit: Limit) -> None:
        self.calls += row.allowed
        self.amount += row.units if limit.unit == "units" else row.allowed
        if limit.unit == "units" and row.allowed:
            self.dearest = max(self.dearest, -(-row.units // row.allowed))

    def calls_beyond(self, most: int) -> int:
        """The fewest calls that are refused if at most so much is let in: as if each of them were the dearest."""
        return min(-(-(self.amount - most) // self.dearest), self.calls) if self.amount > most else 0


def _over_smoothed(limit: Limit, rows: list[UsageRow], start: datetime) -> int:
    taken: dict[tuple[str, datetime], _UsedUp] = defaultdict(_UsedUp)
    for row in rows:
        if row.start >= start:
            taken[_subject(row, limit), row.start].add(row, limit)
    most = limit.amount * (MICROSECONDS_OF_AN_HOUR // SMOOTHED[limit.window]) + limit.room
    return sum(hour.calls_beyond(most) for hour in taken.values())


def _over_quota(limit: Limit, rows: list[UsageRow], start: datetime) -> int:
    """By day or month: what is left of the quota at `start`, and what exceeds that from there on."""
    before: dict[tuple[str, int], _UsedUp] = defaultdict(_UsedUp)
    after: dict[tuple[str, int], _UsedUp] = defaultdict(_UsedUp)
    for row in rows:
        window = _subject(row, limit), calendar_window(limit.window, hour_of(row.start)).number
        (after if row.start >= start else before)[window].add(row, limit)
    refused = 0
    for window, taken in after.items():
        refused += taken.calls_beyond(max(limit.amount - before[window].amount, 0))
    return refused
