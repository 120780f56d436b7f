"""Columns of the admin's lists: times as people say them, and states as badges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.operators.places import Words
from console.templatetags.console import near

TONES = {"active": "good", "suspended": "warn", "paused": "warn", "expired": "", "closed": "bad", "revoked": "bad"}


def moment(field: str, words: Words, otherwise: str = "–") -> Callable[[Any], Any]:
    """A column with how long ago or ahead a time is, with the time itself on hover."""

    def column(row: Any) -> SafeString | str:
        value: datetime | None = getattr(row, field)
        return otherwise if value is None else near(value)

    return _described(column, field, words)


def badge(field: str, words: Words) -> Callable[[Any], Any]:
    """A column with a state, coloured. States are computed, so it has no order."""

    def column(row: Any) -> SafeString:
        return state_badge(getattr(row, field))

    return _described(column, field, words, is_sortable=False)


def state_badge(state: str) -> SafeString:
    return format_html('<span class="badge {}">{}</span>', TONES.get(state, ""), state)


def _described(column: Any, field: str, words: Words, *, is_sortable: bool = True) -> Callable[[Any], Any]:
    column.__name__ = field
    column.short_description = words
    if is_sortable:
        column.admin_order_field = field
    result: Callable[[Any], Any] = column
    return result
