"""How the console writes times and numbers, and its icons."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86_400
_FAR_DAYS = 60  # beyond that a date says more than a count of days
_COMPACT = ((1_000_000_000, 1_000_000_000, "B"), (1_000_000, 1_000_000, "M"), (10_000, 1000, "k"))  # from, by, letter


@register.simple_tag
def icon(name: str) -> SafeString:
    """One of the symbols in icons.html. It is decoration: the words beside it say the same."""
    return format_html('<svg class="icon" aria-hidden="true" focusable="false"><use href="#i-{}"></use></svg>', name)


@register.filter
def number(value: int) -> str:
    """1234567 → 1,234,567"""
    return f"{value:,}"


@register.filter
def compact(value: float) -> str:
    """1234567 → 1.2M, for the axis of a chart."""
    for least, size, letter in _COMPACT:
        if value >= least:
            return f"{value / size:.1f}".removesuffix(".0") + letter
    return f"{value:,.0f}"


@register.filter
def percent(share: float) -> str:
    """0.876 → 88 %"""
    return f"{share * 100:.0f} %"


@register.simple_tag
def when(moment: datetime | None, style: str = "full") -> SafeString | str:
    """A moment in UTC, which console.js rewrites in the reader's zone. `style` is `full` or `date`."""
    if moment is None:
        return "–"
    return _time(moment, day_of(moment) if style == "date" else full(moment), style)


@register.simple_tag
def near(moment: datetime | None, otherwise: str = "Never") -> SafeString | str:
    """How long ago, or how long from now, with the moment itself on hover."""
    return otherwise if moment is None else _time(moment, relative(moment, timezone.now()), "")


def relative(moment: datetime, now: datetime) -> str:
    """2 minutes ago, in 6 days; a date where it is far away."""
    seconds = (now - moment).total_seconds()
    size = abs(seconds)
    if size < MINUTE:
        return "just now" if seconds >= 0 else "in less than a minute"
    if size >= _FAR_DAYS * DAY:
        return day_of(moment)
    for length, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if size >= length:
            count = int(size // length)
            words = f"{count} {word}" if count == 1 else f"{count} {word}s"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    raise AssertionError("a minute is the shortest")


def full(moment: datetime) -> str:
    """26 Nov 2026, 03:47 UTC"""
    return f"{day_of(moment)}, {moment.astimezone(UTC):%H:%M} UTC"


def day_of(moment: datetime) -> str:
    """26 Nov 2026"""
    return f"{moment.astimezone(UTC):%-d %b %Y}"


def _time(moment: datetime, words: str, style: str) -> SafeString:
    iso = moment.astimezone(UTC).isoformat(timespec="seconds")
    return format_html('<time datetime="{}" title="{}" data-style="{}">{}</time>', iso, full(moment), style, words)
