"""Columns of the admin's lists: times as people say them, states as badges, names with their ids below them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import F
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from console.keys.state import KeyState
from console.templatetags.console import near

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

    from accounts.models import Account, Credential

Column = Callable[[Any, Any], Any]

STATES = {
    "active": KeyState(gettext_lazy("Active"), "good"),
    "suspended": KeyState(gettext_lazy("Suspended"), "warn"),
    "closed": KeyState(gettext_lazy("Closed"), "bad"),
    "paused": KeyState(gettext_lazy("Paused"), "warn"),
    "expired": KeyState(gettext_lazy("Expired"), ""),
    "revoked": KeyState(gettext_lazy("Revoked"), "bad"),
}


def moment(field: str, words: str | StrPromise, *, may_be_never: bool = False) -> Column:
    """A column with how long ago or ahead a time is, with the time itself on hover. An attribute of its page."""

    def column(page: Any, row: Any) -> SafeString | str:
        value: datetime | None = getattr(row, field)
        return "–" if value is None else near(value)

    # An index of a time that is always there serves the plain order only.
    return admin.display(description=words, ordering=F(field).desc(nulls_last=True) if may_be_never else field)(column)


def badge(field: str, words: str | StrPromise) -> Column:
    """A column with a state, coloured. States are computed, so they have no order."""

    def column(page: Any, row: Any) -> SafeString:
        return state_badge(getattr(row, field))

    return admin.display(description=words)(column)


def named(words: str | StrPromise, *, below: str = "public_id") -> Column:
    """A column with the name of a row, and its id in small letters below it."""

    def column(page: Any, row: Any) -> SafeString:
        return titled(row.name, getattr(row, below))

    return admin.display(description=words, ordering="name")(column)


def state_badge(state: str) -> SafeString:
    return toned(*STATES.get(state, KeyState(state, "")))


def toned(words: str | StrPromise | Any, tone: str) -> SafeString:
    return format_html('<span class="badge {}">{}</span>', tone, words)


def titled(name: str, id_: str) -> SafeString:
    return format_html('{}<span class="below mono">{}</span>', name, id_)


def account_link(account: Account, below: str = "") -> SafeString:
    """An account by its name, with a word below it."""
    address = reverse("admin:accounts_account_change", args=[account.pk])
    return format_html('<a href="{}">{}</a><span class="below">{}</span>', address, account.name, below)


def state_of_credential(row: Credential, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "active" if row.is_in_force(now) else "expired"
