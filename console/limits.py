"""Limits in plain words, and how much of each is left now: the gate's own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext, ngettext_lazy

from accounts.models import Account, ApiKey
from accounts.plan_models import models_of_key
from authsvc.gate.explain import LimitState, Unanswered, look_at_limits, states_of
from console.templatetags.console import as_html, when
from quotas.limits import EVERY_MODEL, WINDOWS, Limit, calendar_window, hour_of
from quotas.models import PlanLimit
from runtime.figures import number
from store.throttles import LOOKS

ALMOST = 0.8  # from here on a bar warns
MOST_LOOKS = 5  # models whose own limits are shown

_RATES = {
    ("requests", "second"): ngettext_lazy("%(amount)s call a second", "%(amount)s calls a second", "count"),
    ("requests", "minute"): ngettext_lazy("%(amount)s call a minute", "%(amount)s calls a minute", "count"),
    ("requests", "hour"): ngettext_lazy("%(amount)s call an hour", "%(amount)s calls an hour", "count"),
    ("requests", "day"): ngettext_lazy("%(amount)s call a day", "%(amount)s calls a day", "count"),
    ("requests", "month"): ngettext_lazy("%(amount)s call a month", "%(amount)s calls a month", "count"),
    ("units", "second"): ngettext_lazy("%(amount)s unit a second", "%(amount)s units a second", "count"),
    ("units", "minute"): ngettext_lazy("%(amount)s unit a minute", "%(amount)s units a minute", "count"),
    ("units", "hour"): ngettext_lazy("%(amount)s unit an hour", "%(amount)s units an hour", "count"),
    ("units", "day"): ngettext_lazy("%(amount)s unit a day", "%(amount)s units a day", "count"),
    ("units", "month"): ngettext_lazy("%(amount)s unit a month", "%(amount)s units a month", "count"),
}


class Meter(NamedTuple):
    """A limit as a bar: its words, what is left, and when it is whole again."""

    words: str
    left: str
    share: int  # percent that is used
    tone: str
    renews: str
    limit: Limit
    taken: int


class Meters(NamedTuple):
    """`is_known` is False while Redis or the database does not answer."""

    meters: list[Meter]
    is_known: bool


def sentence(limit: Limit, *, for_key: bool = False) -> str:
    """60 calls a minute, bursts of 10, for each key"""
    parts = [str(_RATES[limit.unit, limit.window] % {"count": limit.amount, "amount": number(limit.amount)})]
    if limit.is_smoothed and limit.room != limit.amount:
        parts.append(gettext("bursts of %(room)s") % {"room": number(limit.room)})
    if limit.model != EVERY_MODEL:
        parts.append(gettext("to %(model)s") % {"model": limit.model})
    if limit.scope == "account":
        parts.append(gettext("shared by all keys"))
    elif not for_key:
        parts.append(gettext("for each key"))
    return ", ".join(parts)


def meters_of_key(key: ApiKey) -> Meters:
    """All limits that hold for a key."""
    return _meters(key, lambda limit: True)


def meters_of_account(account: Account) -> Meters:
    """The limits that the account's keys share, as any of its living keys meets them; none where it has no key."""
    key = ApiKey.objects.living().filter(account=account).select_related("account__plan").order_by("-id").first()
    if key is None or account.closed_at:
        return Meters([], True)
    return _meters(key, lambda limit: limit.scope == "account")


def _meters(key: ApiKey, is_wanted: Callable[[Limit], bool]) -> Meters:
    models = _models_to_look_at(key)
    if not models or LOOKS.wait(key.account.public_id):
        return Meters([], not models)
    found: dict[tuple[str, ...], LimitState] = {}
    try:
        for model in models:
            look = look_at_limits(key.public_id, model)
            for state in states_of(*look[1:]) if look else ():
                found.setdefault(state.limit.identity, state)
    except Unanswered:
        return Meters([], False)
    wanted = [state for state in found.values() if is_wanted(state.limit)]
    return Meters([meter(state, timezone.now()) for state in sorted(wanted, key=_order)], True)


def _models_to_look_at(key: ApiKey) -> Sequence[str]:
    """One model for the limits of all models, and those that have limits of their own."""
    callable_ = sorted(models_of_key(key))
    if not callable_:
        return []
    of_plan = PlanLimit.objects.filter(Q(plan=key.account.plan), model__slug__in=callable_)
    of_key = key.limits.filter(model__slug__in=callable_)
    own = {*of_plan.values_list("model__slug", flat=True), *of_key.values_list("model__slug", flat=True)}
    return list(dict.fromkeys([*sorted(own)[:MOST_LOOKS], *callable_[:1]]))


def _order(state: LimitState) -> tuple[int, str]:
    return WINDOWS.index(state.limit.window), state.limit.name


def meter(state: LimitState, now: datetime) -> Meter:
    """A limit's bar at this moment."""
    limit, room = state.limit, max(state.limit.room, 1)
    share = min(max(1 - state.left / room, 0), 1)
    tone = "bad" if state.left <= 0 else "warn" if share >= ALMOST else ""
    return Meter(
        sentence(limit, for_key=limit.scope == "key"),
        gettext("%(number)s left") % {"number": number(max(state.left, 0))},
        math.floor(share * 100) if share < 1 else 100,
        tone,
        _renews(state, now),
        limit,
        max(room - state.left, 0),
    )


def _renews(state: LimitState, now: datetime) -> str:
    if state.limit.is_smoothed:
        time = in_words(state.whole_in)
        return gettext("Full again in %(time)s") % {"time": time} if state.whole_in > 0 else gettext("Full")
    return as_html(gettext("Renews on %(moment)s"), moment=when(end_of(state.limit.window, now)))


def end_of(window: str, now: datetime) -> datetime:
    """When the calendar day or month that a moment is in ends."""
    return datetime.fromtimestamp(calendar_window(window, hour_of(now)).end, UTC)


def in_words(seconds: int) -> str:
    """75 → 1 min 15 s"""
    minutes, rest = divmod(int(timedelta(seconds=seconds).total_seconds()), 60)
    if not minutes:
        return gettext("%(seconds)d s") % {"seconds": rest}
    if not rest:
        return gettext("%(minutes)d min") % {"minutes": minutes}
    return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}


def by_window(meters: Iterable[Meter], window: str) -> Meter | None:
    """The account's own limit of all models over this window, in units before calls."""
    found = [
        one
        for one in meters
        if one.limit.window == window and one.limit.model == EVERY_MODEL and one.limit.scope == "account"
    ]
    return min(found, key=lambda one: one.limit.unit != "units", default=None)
