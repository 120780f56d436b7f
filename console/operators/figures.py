"""CallSums over all accounts, for the pages of operators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from accounts.models import Account
from console.charts import floor
from quotas.models import ServedModel
from quotas.usage.ranking import read_most_used
from quotas.usage.reading import HOUR, UsageRow, UsageSelection, read_usage

MOST_ROWS = 5000


class CallSums(NamedTuple):
    """Calls over some time."""

    allowed: int
    refused: int
    shadow_refused: int

    @property
    def asked(self) -> int:
        return self.allowed + self.refused

    @property
    def share_refused(self) -> float:
        return self.refused / self.asked if self.asked else 0.0


class Ranked(NamedTuple):
    """An account or a model among those with the most calls. Without a row of its own, `pk` is None."""

    id: str
    name: str
    pk: int | None
    sums: CallSums
    percent: int  # of the first one's calls


def sums_of(rows: Iterable[UsageRow]) -> CallSums:
    rows = list(rows)
    return CallSums(
        sum(row.allowed for row in rows),
        sum(row.refused for row in rows),
        sum(row.shadow_refused for row in rows),
    )


def days_of(now: datetime, days: int, *, accounts: tuple[str, ...] | None = None) -> list[UsageRow]:
    """Calls of the last days by model, today among them."""
    start = floor(now, "day") - timedelta(days=days - 1)
    return _read(start, now, "day", ("model",), accounts)


def hours_of(now: datetime, hours: int, *, accounts: tuple[str, ...] | None = None) -> list[UsageRow]:
    """Calls of the last hours by model, this hour among them."""
    return _read(floor(now, "hour") - (hours - 1) * HOUR, now, "hour", ("model",), accounts)


def _read(
    start: datetime, now: datetime, interval: str, groups: tuple[str, ...], accounts: tuple[str, ...] | None
) -> list[UsageRow]:
    selection = UsageSelection(
        start=start, end=floor(now, "hour") + HOUR, interval=interval, groups=groups, accounts=accounts
    )
    return read_usage(selection, most=MOST_ROWS)


def top_accounts(since: datetime, now: datetime, most: int) -> list[Ranked]:
    """The accounts with the most allowed calls since a midnight."""
    found = _top("account", since, now, most)
    return _ranked(found, names_of_accounts(id for id, _ in found))


def top_models(since: datetime, now: datetime, most: int) -> list[Ranked]:
    """The models with the most allowed calls since a midnight."""
    found = _top("model", since, now, most)
    rows = ServedModel.objects.filter(slug__in=[id for id, _ in found]).values_list("slug", "slug", "pk")
    return _ranked(found, {slug: (name, pk) for slug, name, pk in rows})


def _top(group: str, since: datetime, now: datetime, most: int) -> list[tuple[str, CallSums]]:
    selection = UsageSelection(start=since, end=floor(now, "hour") + HOUR, groups=(group,))
    rows = [row for row in read_most_used(selection, most=most).rows if row.allowed]
    return [(getattr(row, group), sums_of([row])) for row in rows]


def _ranked(found: Sequence[tuple[str, CallSums]], known: dict[str, tuple[str, int]]) -> list[Ranked]:
    most = max((sums.allowed for _, sums in found), default=0)
    ranked = []
    for id, sums in found:
        name, pk = known.get(id, (id, None))
        ranked.append(Ranked(id, name, pk, sums, round(100 * sums.allowed / most) if most else 0))
    return ranked


def names_of_accounts(ids: Iterable[str]) -> dict[str, tuple[str, int]]:
    """The name and the primary key of each account, by its public id."""
    rows = Account.objects.filter(public_id__in=list(ids)).values_list("public_id", "name", "pk")
    return {id: (name, pk) for id, name, pk in rows}
