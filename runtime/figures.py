"""Moments and numbers as the language in force writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import dateformat
from django.utils.formats import get_format
from django.utils.translation import pgettext


def number(value: int) -> str:
    """1234567 → 1,234,567; in French 1 234 567"""
    return f"{value:,}".replace(",", get_format("THOUSAND_SEPARATOR"))  # number_format is too slow for a chart


def full(moment: datetime) -> str:
    """26 Nov 2026, 03:47 UTC; in French 26 nov. 2026 à 03:47 UTC"""
    written = pgettext("date format", "j M Y, H:i")  # not in the f-string, where Python 3.11 hides it from Babel
    return f"{dateformat.format(moment.astimezone(UTC), written)} UTC"


def day_of(moment: datetime) -> str:
    """26 Nov 2026, for tables; in French 26 nov. 2026"""
    return dateformat.format(moment.astimezone(UTC), pgettext("date format", "j M Y"))


def date_of(moment: datetime) -> str:
    """26 November 2026, for sentences; in French 26 novembre 2026"""
    return dateformat.format(moment.astimezone(UTC), pgettext("date format", "j F Y"))
