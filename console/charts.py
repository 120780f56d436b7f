"""Bar charts as SVG: computed here, drawn by a template, readable as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import dateformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

from quotas.usage.days import day_start
from quotas.usage.reading import HOUR, UsageRow, month_start
from runtime.figures import number

MOST_SERIES = 4  # beyond that the rest is one series, "Others"
OTHERS = gettext_lazy("Others")
REFUSED = gettext_lazy("Refused")

_WIDTH, _HEIGHT = 1000.0, 100.0
_GAP = 0.28  # of a bar's place
_LABELS = 4
_SHAPE = '<rect class="{tone}" x="{x}" y="{y}" width="{width}" height="{height}"/>'  # numbers, and a class of ours


class Box(NamedTuple):
    """One coloured part of a bar, in the units of the chart's viewBox. Text: no language writes these its own way."""

    tone: str
    x: str
    y: str
    width: str
    height: str


class Bar(NamedTuple):
    title: str
    left: str
    width: str
    boxes: list[Box]
    label: str
    values: list[int]
    numbers: list[str]  # the values as the reader's language writes them

    def shapes(self) -> SafeString:
        """The boxes in SVG. A chart has thousands, which a template would take most of a page's time for."""
        return SafeString("".join(map(_SHAPE.format_map, (box._asdict() for box in self.boxes))))

    def cells(self) -> SafeString:
        """The numbers as cells of a table's row, for the same reason. No language writes numbers with < or &."""
        return SafeString("".join(f'<td class="right">{number}</td>' for number in self.numbers))


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its legend, its scale from the top down, and its bars from left to right."""

    bars: list[Bar]
    series: list[tuple[str, str]]  # the class that colours it, and its name
    scale: list[float]
    labels: list[str]
    words: str

    @property
    def is_empty(self) -> bool:
        return not any(any(bar.values) for bar in self.bars)


def steps(start: datetime, end: datetime, interval: str) -> list[datetime]:
    """The beginnings of the intervals from start to before end."""
    moments, moment = [], _FLOORS[interval](start)
    while moment < end:
        moments.append(moment)
        moment = _NEXT[interval](moment)
    return moments


def floor(moment: datetime, interval: str) -> datetime:
    return _FLOORS[interval](moment)


_FLOORS: dict[str, Callable[[datetime], datetime]] = {
    "hour": lambda moment: moment.replace(minute=0, second=0, microsecond=0),
    "day": day_start,
    "month": month_start,
}
_NEXT: dict[str, Callable[[datetime], datetime]] = {
    "hour": lambda moment: moment + HOUR,
    "day": lambda moment: moment + timedelta(days=1),
    "month": lambda moment: month_start(moment + timedelta(days=32)),
}
_LABEL = {
    "hour": pgettext_lazy("date format", "j M H:i"),
    "day": pgettext_lazy("date format", "j M"),
    "month": pgettext_lazy("date format", "M Y"),
}


def chart_of(
    rows: Iterable[UsageRow],
    moments: Sequence[datetime],
    interval: str,
    *,
    series_of: Callable[[UsageRow], str | None],
    words: str,
) -> Chart:
    """Allowed calls stacked by series, with the refused ones on top. A row without a series is one of the others."""
    rows = list(rows)
    totals: dict[str | None, int] = {}
    for row in rows:
        totals[series_of(row)] = totals.get(series_of(row), 0) + row.allowed
    has_others = bool(totals.pop(None, 0))
    ranked = sorted((name for name in totals if name and totals[name]), key=lambda name: (-totals[name], name))
    named = ranked if len(ranked) <= MOST_SERIES else ranked[:MOST_SERIES]
    names = [*named, *([str(OTHERS)] if has_others or len(ranked) > len(named) else [])]
    has_refused = any(row.refused for row in rows)
    place = {moment: index for index, moment in enumerate(moments)}
    values = [[0] * (len(names) + has_refused) for _ in moments]
    for row in rows:
        index = place.get(floor(row.start, interval))
        if index is None:
            continue
        if row.allowed:
            name = series_of(row)
            values[index][named.index(name) if name in named else len(named)] += row.allowed
        if row.refused:
            values[index][-1] += row.refused
    tones = [f"s{place + 1}" for place in range(len(names))] + (["sr-refused"] if has_refused else [])
    legend = list(zip(tones, [*names, *([str(REFUSED)] if has_refused else [])], strict=True))
    labels = [dateformat.format(moment, str(_LABEL[interval])) for moment in moments]
    top = nice_top(max((sum(one) for one in values), default=0))
    return Chart(_bars(values, labels, legend, top), legend, [top, top / 2, 0], _few(labels), words)


def _bars(values: list[list[int]], labels: list[str], legend: list[tuple[str, str]], top: float) -> list[Bar]:
    width = _WIDTH / max(len(values), 1)
    words = gettext("%(name)s: %(number)s")
    bars = []
    for index, parts in enumerate(values):
        left, base = index * width, _HEIGHT
        x, wide = _written(left + width * _GAP / 2), _written(width * (1 - _GAP))
        boxes = []
        for (tone, _), value in zip(legend, parts, strict=True):
            if value:
                height = max(value / top * _HEIGHT, 0.6)  # one call is still seen
                base -= height
                boxes.append(Box(tone, x, _written(base), wide, _written(height)))
        numbers = [number(value) for value in parts]
        named = zip(legend, parts, numbers, strict=True)
        told = [words % {"name": name, "number": written} for (_, name), value, written in named if value]
        title = "\n".join([labels[index], *(told or [gettext("No calls")])])
        bars.append(Bar(title, _written(left), _written(width), boxes, labels[index], parts, numbers))
    return bars


def _written(length: float) -> str:
    return f"{length:.2f}".rstrip("0").rstrip(".")


def _few(labels: list[str]) -> list[str]:
    """The first label, the last, and some between."""
    if len(labels) <= _LABELS:
        return labels
    return [labels[round(place * (len(labels) - 1) / (_LABELS - 1))] for place in range(_LABELS)]


def nice_top(most: int) -> float:
    """The end of a scale: 1, 2, 4, 5 or 10 times a power of ten, and even so that its half is whole."""
    size = 1
    while True:
        for step in (2, 4, 6, 8, 10):
            if most <= step * size:
                return float(step * size)
        size *= 10
