"""The filters of the lists of keys and of their secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import ApiKey, KeyQuerySet, KeySecret
from accounts.peppers import peppers
from console.keys import state
from console.keys.state import FILTERS, KeyState


class KeyStateFilter(admin.SimpleListFilter):
    """By state, and by what to look after among active keys."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, one.words) for name, (one, _rows) in _STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        assert isinstance(queryset, KeyQuerySet)
        _one, rows = _STATES.get(self.value() or "", (None, None))
        return rows(queryset) if rows is not None else queryset


_STATES: dict[str, tuple[KeyState, Callable[[KeyQuerySet], KeyQuerySet]]] = {
    "active": (state.ACTIVE, FILTERS["active"]),
    "expiring": (state.EXPIRING, FILTERS["expiring"]),
    "rotating": (state.ROTATING, FILTERS["rotating"]),
    "unused": (state.UNUSED_FOR_LONG, FILTERS["unused"]),
    "paused": (state.PAUSED, FILTERS["paused"]),
    "expired": (state.EXPIRED, KeyQuerySet.expired),
    "revoked": (state.REVOKED, KeyQuerySet.revoked),
}


class PepperFilter(admin.SimpleListFilter):
    """By the peppers of the settings. To find out which ones there are would take a look at every secret."""

    title = gettext_lazy("pepper")
    parameter_name = "pepper"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        current, *old = (pepper.id for pepper in peppers())
        named = [(current, _("Current, %(id)s") % {"id": current})]
        named += [(id_, _("Old, %(id)s") % {"id": id_}) for id_ in old]
        return [*named, ("other", _("Neither"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[KeySecret]) -> QuerySet[KeySecret]:
        ids = [pepper.id for pepper in peppers()]
        if self.value() == "other":
            return queryset.exclude(pepper__in=ids)
        return queryset.filter(pepper=self.value()) if self.value() in ids else queryset
