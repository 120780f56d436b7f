"""Columns of the admin's lists: times as people say them, and states as badges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.templatetags.console import near

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

Column = Callable[[Any, Any], Any]

TONES = {"active": "good", "suspended": "warn", "paused": "warn", "expired": "", "closed": "bad", "revoked": "bad"}


def moment(field: str, words: str | StrPromise) -> Column:
    """A column with how long ago or ahead a time is, with the time itself on hover. An attribute of its page."""

    def column(page: Any, row: Any) -> SafeString | str:
        value: datetime | None = getattr(row, field)
        return "–" if value is None else near(value)

    return admin.display(description=words, ordering=field)(column)


def badge(field: str, words: str | StrPromise) -> Column:
    """A column with a state, coloured. States are computed, so they have no order."""

    def column(page: Any, row: Any) -> SafeString:
        return state_badge(getattr(row, field))

    return admin.display(description=words)(column)


def state_badge(state: str) -> SafeString:
    return format_html('<span class="badge {}">{}</span>', TONES.get(state, ""), state)
