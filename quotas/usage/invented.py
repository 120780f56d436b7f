"""Invented usage for a demo, so that its charts are not empty: a daily rhythm, quiet weekends, a few refusals.

It is written as the worker writes counted usage, with births at full hours, by which it can be told from real usage.
The same key, model and hour always get the same calls, so inventing twice adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import cos, pi
from random import Random

from django.db.models import F, QuerySet

from quotas.limits import HOUR_SECONDS, SECOND, Limit, hour_of, hour_start
from quotas.models import UsageHour
from quotas.usage.ledger import CountedHour, keep_hours

Refusals = tuple[tuple[str, int, int], ...]

BUSIEST_HOUR = 14  # UTC
WEEKEND = 0.25  # of a weekday
MOST_AN_HOUR = 60  # calls of the busiest key
BATCH = 500
# How often in a hundred hours a key runs into each of these, and for how many calls at most.
OVER_A_LIMIT = (8, 9)
REFUSALS: Refusals = (
    ("r:model_not_allowed", 3, 3),
    ("r:unknown_model", 2, 2),
    ("r:wrong_secret", 1, 4),
)


def invent(
    keys: Sequence[str], costs: Mapping[str, int], start: datetime, end: datetime, *, limit: Limit | None = None
) -> int:
    """Write down usage of these keys and models from `start` to before `end`; the number of calls.

    `costs` has the units of each model's call, and `limit` is the one that keys run into now and then.
    """
    refusals = REFUSALS if limit is None else ((f"l:{':'.join(limit.identity)}", *OVER_A_LIMIT), *REFUSALS)
    calls, batch = 0, []
    for hour in _hours(keys, costs, start, end, refusals):
        calls += hour.count("a")
        batch.append(hour)
        if len(batch) == BATCH:
            keep_hours(batch)
            batch = []
    keep_hours(batch)
    return calls


def real_usage(account: str, start: datetime, end: datetime) -> QuerySet[UsageHour]:
    """What was counted and not invented."""
    hours = UsageHour.objects.filter(account=account, hour__gte=start, hour__lt=end)
    return hours.annotate(beyond_an_hour=F("birth") % (HOUR_SECONDS * SECOND)).exclude(beyond_an_hour=0)


def _hours(
    keys: Sequence[str], costs: Mapping[str, int], start: datetime, end: datetime, refusals: Refusals
) -> Iterator[CountedHour]:
    for hour in range(hour_of(start), hour_of(end)):
        for place, key in enumerate(keys):
            for later, (model, cost) in enumerate(costs.items()):
                raw = _counted(Random(f"{key} {model} {hour}"), hour, place + later, cost, refusals)
                if raw:
                    yield CountedHour("", key, model, hour, {"b": str(hour * HOUR_SECONDS * SECOND), **raw})


def _counted(dice: Random, hour: int, place: int, cost: int, refusals: Refusals) -> dict[str, str]:
    """The fields of a usage hash. A later place has fewer calls."""
    calls = round(_busy(hour_start(hour)) * MOST_AN_HOUR / (place + 1) * dice.uniform(0.5, 1.2))
    if not calls:
        return {}
    refused = {field: dice.randint(1, most) for field, often, most in refusals if dice.random() * 100 < often}
    counts = {"a": calls, "x": calls * (cost - 1), "r": sum(refused.values()), **refused}
    return {field: str(count) for field, count in counts.items() if count}


def _busy(moment: datetime) -> float:
    """From 0 at night to 1 in the busiest hour of a weekday."""
    by_day = (1 + cos((moment.hour - BUSIEST_HOUR) / 12 * pi)) / 2
    return by_day * (WEEKEND if moment.weekday() >= 5 else 1)
