"""The front page: what is happening, what needs care, and the way to each."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, Min
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Account, ApiKey, AuditEvent, OutboxRow
from console.audit import words_of
from console.charts import Chart, chart_of, floor, steps
from console.keys.state import EXPIRES_SOON
from console.operators.condition import examine
from console.operators.figures import days_of, hours_of, sums_of, top_accounts, top_models
from console.operators.places import may
from console.operators.refused import period_of, refused_between, refused_by_limits
from console.operators.replicas import roll_call
from quotas.models import NEW, Plan, ServedModel
from quotas.usage.reading import UsageRow

DAYS, HOURS = 30, 24
TOP_DAYS = 7
MOST = 5


class Waiting(NamedTuple):
    """Changes that are saved and that the gate does not know yet."""

    changes: int
    since: datetime | None


def front(request: HttpRequest) -> dict[str, Any]:
    """What this person may see of it. Nothing here waits longer for Redis than `examine`."""
    now = timezone.now()
    found = examine()
    shown: dict[str, Any] = {"now": now, "store": found.store}
    if found.processes is not None:
        shown["roll"] = roll_call(found.processes, now)
    if may(request, "accounts.view_outboxrow"):
        shown["waiting"] = _waiting()
    if may(request, "quotas.view_usagehour"):
        shown |= _calls(now)
    if may(request, "accounts.view_apikey"):
        shown |= _keys(now)
    if may(request, "quotas.view_servedmodel"):
        shown["new_models"] = list(ServedModel.objects.filter(NEW)[:MOST])
        shown["plan_names"] = Plan.objects.filter(all_models=False).values_list("name", flat=True)
    if may(request, "accounts.view_auditevent"):
        shown["acts"] = [(event, words_of(event)) for event in AuditEvent.objects.all()[:MOST]]
    return shown


def _waiting() -> Waiting:
    found = OutboxRow.objects.aggregate(changes=Count("pk"), since=Min("created_at"))
    return Waiting(found["changes"], found["since"])


def _calls(now: datetime) -> dict[str, Any]:
    days, hours = days_of(now, DAYS), hours_of(now, HOURS)
    today, yesterday = floor(now, "day"), floor(now, "day") - timedelta(days=1)
    since = today - timedelta(days=TOP_DAYS - 1)
    return {
        "has_calls": any(row.allowed or row.refused for row in [*days, *hours]),
        "this_hour": sums_of(row for row in hours if row.start >= floor(now, "hour")),
        "today": sums_of(row for row in days if row.start >= today),
        "yesterday": sums_of(row for row in days if yesterday <= row.start < today),
        "by_hour": _chart(hours, steps(floor(now, "hour") - timedelta(hours=HOURS - 1), now, "hour"), "hour"),
        "by_day": _chart(days, steps(today - timedelta(days=DAYS - 1), now, "day"), "day"),
        "accounts": top_accounts(since, now, MOST),
        "models": top_models(since, now, MOST),
        "refused": refused_between(*period_of("yesterday", now), MOST),
        "limits": refused_by_limits(*period_of("week", now), MOST),
    }


def _chart(rows: list[UsageRow], moments: list[datetime], interval: str) -> Chart:
    words = _("Calls an hour by model") if interval == "hour" else _("Calls a day by model")
    return chart_of(rows, moments, interval, series_of=lambda row: row.model or "", words=words)


def _keys(now: datetime) -> dict[str, Any]:
    living = ApiKey.objects.active()
    soon = living.filter(expires_at__lte=now + EXPIRES_SOON)
    return {
        "keys": living.count(),
        "accounts_active": Account.objects.filter(closed_at=None, suspended_at=None).count(),
        "expiring": list(soon.select_related("account").order_by("expires_at")[:MOST]),
        "expiring_count": soon.count(),
    }
