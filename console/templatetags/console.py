"""How the console writes times and numbers, and its icons."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, ngettext_lazy

from runtime.figures import date_of, day_of, full, number

register = template.Library()
register.filter(number)

MINUTE, HOUR, DAY = 60, 3600, 86_400
_FAR_DAYS = 60  # beyond that a date says more than a count of days
_COMPACT = (  # from, by, written
    (1_000_000_000, 1_000_000_000, gettext_lazy("%(number)sB")),
    (1_000_000, 1_000_000, gettext_lazy("%(number)sM")),
    (10_000, 1000, gettext_lazy("%(number)sk")),
)
_AGO = (
    (DAY, ngettext_lazy("%(count)d day ago", "%(count)d days ago", "count")),
    (HOUR, ngettext_lazy("%(count)d hour ago", "%(count)d hours ago", "count")),
    (MINUTE, ngettext_lazy("%(count)d minute ago", "%(count)d minutes ago", "count")),
)
_AHEAD = (
    (DAY, ngettext_lazy("in %(count)d day", "in %(count)d days", "count")),
    (HOUR, ngettext_lazy("in %(count)d hour", "in %(count)d hours", "count")),
    (MINUTE, ngettext_lazy("in %(count)d minute", "in %(count)d minutes", "count")),
)


@register.simple_tag
def icon(name: str) -> SafeString:
    """One of the symbols in icons.html. It is decoration: the words beside it say the same."""
    return format_html('<svg class="icon" aria-hidden="true" focusable="false"><use href="#i-{}"></use></svg>', name)


@register.filter
def compact(value: float) -> str:
    """1234567 → 1.2M, in French 1,2 M: for the axis of a chart."""
    for least, size, words in _COMPACT:
        if value >= least:
            tenths = round(value / size * 10)
            short = number_format(tenths / 10, 1) if tenths % 10 else number(tenths // 10)
            return str(words % {"number": short})
    return number(round(value))


@register.filter
def percent(share: float) -> str:
    """0.876 → 88%; in French 88 %"""
    return gettext("%(share)s%%") % {"share": number(round(share * 100))}


@register.simple_tag
def when(moment: datetime | None, style: str = "full") -> SafeString | str:
    """A moment in UTC, which console.js rewrites in the reader's zone. `style` is `full` or `date`."""
    if moment is None:
        return "–"
    return _time(moment, date_of(moment) if style == "date" else full(moment), style)


@register.simple_tag
def near(moment: datetime | None) -> SafeString | str:
    """How long ago, or how long from now, with the moment itself on hover."""
    if moment is None:
        return gettext("Never")
    now = timezone.now()
    return _time(moment, relative(moment, now), "day" if _is_far(moment, now) else "near")


def as_html(words: str, **parts: str) -> SafeString:
    """A translated sentence whose parts may be HTML, such as a moment."""
    return SafeString(escape(words) % {name: conditional_escape(part) for name, part in parts.items()})


def relative(moment: datetime, now: datetime) -> str:
    """2 minutes ago, in 6 days; a date where it is far away."""
    seconds = (now - moment).total_seconds()
    size = abs(seconds)
    if size < MINUTE:
        return gettext("just now") if seconds >= 0 else gettext("in less than a minute")
    if _is_far(moment, now):
        return day_of(moment)
    for length, words in _AGO if seconds > 0 else _AHEAD:
        if size >= length:
            return str(words % {"count": int(size // length)})
    raise AssertionError("a minute is the shortest")


def _is_far(moment: datetime, now: datetime) -> bool:
    return abs((now - moment).total_seconds()) >= _FAR_DAYS * DAY


def _time(moment: datetime, words: str, style: str) -> SafeString:
    iso = moment.astimezone(UTC).isoformat(timespec="seconds")
    return format_html('<time datetime="{}" title="{}" data-style="{}">{}</time>', iso, full(moment), style, words)
