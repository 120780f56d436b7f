"""The usage page: a chart, a table behind it, and the same as CSV."""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_safe

from accounts.authority import Action
from accounts.models import Account, ApiKey
from console.charts import MOST_SERIES, Chart, chart_of, steps
from console.frame import page, show
from console.seat import Seat
from console.streaming import streamed
from console.usage.asked import GROUPED, INTERVALS, RANGES, Asked, read
from console.usage.refusals import NO_MODEL
from quotas.usage.ranking import read_most_used
from quotas.usage.reading import UsageRow, UsageSelection, read_all, read_usage
from runtime.figures import day_of

MOST_MOMENTS = 500  # more than a chart has
MOST_IN_TABLE = 100
MOST_CHOICES = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four: Excel reads them, too
MOMENT = timedelta(microseconds=1)
_CALLS = {
    "hour": gettext_lazy("Calls by hour, %(first)s to %(last)s"),
    "day": gettext_lazy("Calls by day, %(first)s to %(last)s"),
    "month": gettext_lazy("Calls by month, %(first)s to %(last)s"),
}
COUNTS = ("allowed", "refused", "units")


class Sum(NamedTuple):
    """A line of the table: one model or key over the whole range."""

    id: str
    name: str
    allowed: int
    refused: int
    units: int


@page(Action.READ_USAGE)
@require_safe
def usage(request: HttpRequest, seat: Seat) -> HttpResponse:
    asked = read(request.GET)
    selection = asked.selection(seat.account)
    most_used = read_most_used(selection, most=MOST_IN_TABLE)
    names = _names(seat.account, most_used.rows) if asked.group == "key" else {}
    first = _of_the_first(selection, asked.group, most_used.rows)
    totals = read_usage(replace(selection, groups=()), most=MOST_MOMENTS)  # read last, so that it contains the others
    context = {
        "asked": asked,
        "chart": _chart(totals, first, asked, names),
        "sums": [_sum(row, asked, names) for row in most_used.rows],
        "left_out": max(most_used.in_all - MOST_IN_TABLE, 0),
        "totals": {count: sum(getattr(row, count) for row in totals) for count in COUNTS},
        "ranges": RANGES,
        "intervals": INTERVALS.items(),
        "groups": GROUPED.items(),
        "key_choices": ApiKey.objects.filter(account=seat.account).values_list("public_id", "name")[:MOST_CHOICES],
        "model_choices": seat.account.plan.included().values_list("slug", flat=True),
        "first": {"hour": gettext("Hour"), "day": gettext("Day"), "month": gettext("Month")}[asked.interval],
    }
    return show(request, seat, "usage/usage", context)


def _of_the_first(selection: UsageSelection, group: str, most_used: list[UsageRow]) -> list[UsageRow]:
    """Usage over time of those that get a series of their own."""
    first = tuple(str(getattr(row, group)) for row in most_used[:MOST_SERIES])
    chosen = replace(selection, keys=first, accounts=None) if group == "key" else replace(selection, models=first)
    return read_usage(chosen, most=MOST_MOMENTS * MOST_SERIES) if first else []


@page(Action.READ_USAGE)
@require_safe
def csv(request: HttpRequest, seat: Seat) -> StreamingHttpResponse:
    """Every row of what the page shows, as a file."""
    asked = read(request.GET)
    lines = _lines(seat.account, asked)
    return streamed(request, f"usage-{asked.start:%Y-%m-%d}.csv", "text/csv; charset=utf-8", lines)


def _lines(account: Account, asked: Asked) -> Iterator[str]:
    names = dict(ApiKey.objects.filter(account=account).values_list("public_id", "name").iterator())
    head = ["start", "end", asked.group, *(["name"] if asked.group == "key" else []), *COUNTS]
    yield _line(head)
    for row in read_all(asked.selection(account)):
        group = getattr(row, asked.group) or ""
        name = [_harmless(names.get(group, ""))] if asked.group == "key" else []
        yield _line([f"{row.start:%FT%TZ}", f"{row.end:%FT%TZ}", group, *name, row.allowed, row.refused, row.units])


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv_module.writer(text).writerow(cells)
    return text.getvalue()


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _names(account: Account, rows: list[UsageRow]) -> dict[str, str]:
    ids = {row.key for row in rows if row.key}
    return dict(ApiKey.objects.filter(account=account, public_id__in=ids).values_list("public_id", "name"))


def _sum(row: UsageRow, asked: Asked, names: dict[str, str]) -> Sum:
    id = getattr(row, asked.group) or ""
    return Sum(id, _title(id, names), *(getattr(row, count) for count in COUNTS))


def _title(id: str, names: dict[str, str]) -> str:
    return gettext("No such model") if id == NO_MODEL else names.get(id, id)


def _chart(totals: list[UsageRow], first: list[UsageRow], asked: Asked, names: dict[str, str]) -> Chart:
    words = str(_CALLS[asked.interval] % {"first": day_of(asked.start), "last": day_of(asked.end - MOMENT)})
    moments = steps(asked.start, asked.end, asked.interval)
    # Two keys may have one name: they are two series all the same.
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}

    def series(row: UsageRow) -> str | None:
        id = getattr(row, asked.group)
        if id is None:
            return None
        title = _title(id, names)
        return f"{title} ({id})" if title in twice else title

    return chart_of([*first, *_others(totals, first)], moments, asked.interval, series_of=series, words=words)


def _others(totals: list[UsageRow], first: list[UsageRow]) -> Iterator[UsageRow]:
    """What is left of each total without those that have a series of their own."""
    told: dict[datetime, list[int]] = {}
    for row in first:
        sums = told.setdefault(row.start, [0, 0])
        sums[0] += row.allowed
        sums[1] += row.refused
    for row in totals:
        allowed, refused = told.get(row.start, (0, 0))
        yield row._replace(allowed=row.allowed - allowed, refused=row.refused - refused)
