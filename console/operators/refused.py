"""Who was refused most, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from accounts.models import ApiKey
from console.charts import floor
from console.operators.figures import names_of_accounts
from console.operators.places import Words, may
from console.usage.reasons import over, reason_of
from console.usage.refusals import NO_MODEL
from quotas.limits import EVERY_MODEL, Limit
from quotas.terms import limits_in_force
from quotas.usage.reading import UsageSelection, read_usage
from quotas.usage.refusals import LimitName, RefusalRow, read_refusals, read_shadow_refusals

MOST = 100
DAY = timedelta(days=1)
PERIODS = {
    "yesterday": (gettext_lazy("Yesterday"), 1, 0),  # its words, and the days ago where it begins and where it ends
    "today": (gettext_lazy("Today"), 0, -1),
    "week": (gettext_lazy("Last 7 days"), 6, -1),
}
_UNITS = {"requests": gettext_lazy("calls"), "units": gettext_lazy("units")}
_WINDOWS = {
    "second": gettext_lazy("per second"),
    "minute": gettext_lazy("per minute"),
    "hour": gettext_lazy("per hour"),
    "day": gettext_lazy("per day"),
    "month": gettext_lazy("per month"),
}
_SCOPES = {"account": gettext_lazy("shared by an account's keys"), "key": gettext_lazy("for each key")}


class RefusedByKey(NamedTuple):
    """A key's calls to a model that were refused for one reason. `account_pk` and `key` are None where there is no such
    row (any more)."""

    account_id: str
    account_name: str
    account_pk: int | None
    key_id: str
    key: ApiKey | None
    model: str
    calls: int
    why: Words


class RefusedByLimits(NamedTuple):
    """Calls that limits of one kind refused, and that those in shadow would have refused, in all accounts."""

    words: str
    refused: int
    shadow: int


def refused_between(start: datetime, end: datetime, most: int) -> list[RefusedByKey]:
    """The most frequently refused first; both are midnights."""
    selection = UsageSelection(start=start, end=end, groups=("account", "key", "model"))
    rows = read_refusals(selection, most=most)
    accounts, keys = names_of_accounts(row.account or "" for row in rows), _keys({row.key or "" for row in rows})
    limits = {id: _limits_of(key) for id, key in keys.items()}
    return [_told(row, accounts, keys, limits) for row in rows]


def _told(
    row: RefusalRow,
    accounts: dict[str, tuple[str, int]],
    keys: dict[str, ApiKey],
    limits: dict[str, dict[tuple[str, ...], Limit]],
) -> RefusedByKey:
    account_id, key_id, model = row.account or "", row.key or "", row.model or ""
    name, pk = accounts.get(account_id, (account_id, None))
    if row.limit is None:
        reason = reason_of(row.reason, model=model, plan_models=set())
    else:
        reason = over(row.limit, limits.get(key_id, {}).get(row.limit), timezone.now())
    shown = "" if model == NO_MODEL else model
    return RefusedByKey(account_id, name, pk, key_id, keys.get(key_id), shown, row.calls, reason.title)


def _keys(ids: set[str]) -> dict[str, ApiKey]:
    rows = ApiKey.objects.filter(public_id__in=ids).select_related("account__plan")
    related = rows.prefetch_related("limits__model", "account__overrides", "account__plan__limits__model")
    return {key.public_id: key for key in related}


def _limits_of(key: ApiKey) -> dict[tuple[str, ...], Limit]:
    """The limits in force for a key, by what tells them apart."""
    plan = [limit.value() for limit in key.account.plan.limits.all()]
    overrides = {row.limit_name: row for row in key.account.overrides.all()}
    found = limits_in_force(plan, overrides, 0, [row.as_limit("key") for row in key.limits.all()])
    return {limit.identity: limit for limit in found}


def refused_by_limits(start: datetime, end: datetime, most: int) -> list[RefusedByLimits]:
    """Kinds of limits by what they refused: plans differ in amounts, so these are left out."""
    selection = UsageSelection(start=start, end=end)
    refused = {row.limit: row.calls for row in read_refusals(selection, most=MOST) if row.limit}
    shadow = {row.limit: row.calls for row in read_shadow_refusals(selection, most=MOST) if row.limit}
    kinds = sorted({*refused, *shadow}, key=lambda kind: (-refused.get(kind, 0), -shadow.get(kind, 0), kind))
    return [RefusedByLimits(words_of(kind), refused.get(kind, 0), shadow.get(kind, 0)) for kind in kinds[:most]]


def words_of(kind: LimitName) -> str:
    """calls per minute, for each key"""
    words = f"{_UNITS[kind.unit]} {_WINDOWS[kind.window]}, {_SCOPES[kind.scope]}"
    return words if kind.model == EVERY_MODEL else _("%(limit)s, to %(model)s") % {"limit": words, "model": kind.model}


def without_reason(start: datetime, end: datetime, told: int) -> int:
    """Refused calls beyond those that were told: less frequent, or from before reasons were counted."""
    total = sum(row.refused for row in read_usage(UsageSelection(start=start, end=end), most=1))
    return max(total - told, 0)


def period_of(name: str, now: datetime) -> tuple[datetime, datetime]:
    _words, first, last = PERIODS[name]
    today = floor(now, "day")
    return today - first * DAY, today - last * DAY


@require_safe
def refused(request: HttpRequest) -> HttpResponse:
    if not may(request, "quotas.view_usagehour"):
        raise PermissionDenied
    asked = request.GET.get("period", "yesterday")
    name = asked if asked in PERIODS else "yesterday"
    start, end = period_of(name, timezone.now())
    rows = refused_between(start, end, MOST)
    periods: list[tuple[str, Words]] = [(key, words) for key, (words, _first, _last) in PERIODS.items()]
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Refused calls"),
        "rows": rows,
        "limits": refused_by_limits(start, end, MOST),
        "more": without_reason(start, end, sum(row.calls for row in rows)),
        "period": name,
        "periods": periods,
    }
    return TemplateResponse(request, "admin/operators/refused.html", context)
