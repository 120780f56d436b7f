"""The first page: what the account used, what is left, what needs care, and the way to a first call."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from accounts.authority import Action
from accounts.models import ApiKey
from console.charts import chart_of, floor, steps
from console.frame import page, show
from console.keys.calls import ready_calls
from console.keys.form import ALL, NEVER
from console.keys.issuing import id_for_a_form
from console.keys.state import EXPIRES_SOON
from console.limits import Meter, by_window, end_of, meters_of_account
from console.seat import Seat
from console.usage.refusals import refusals
from quotas.models import ServedModel
from quotas.usage.reading import HOUR, UsageRow, UsageSelection, month_start, read_usage

CHART_DAYS = 30
MOST_EXPIRING = 3
_MOST_ROWS = 5000


class Sums(NamedTuple):
    allowed: int
    refused: int
    units: int


@page(Action.READ_ACCOUNT)
@require_safe
def overview(request: HttpRequest, seat: Seat) -> HttpResponse:
    now = timezone.now()
    rows = _days(seat, now)
    keys = ApiKey.objects.filter(account=seat.account)
    has_keys = keys.exists()
    limits = meters_of_account(seat.account)
    month = _sums(_month(seat, rows, now))
    if not any(row.allowed or row.refused for row in rows):
        return show(request, seat, "overview/first_steps", _first_steps(seat, has_keys=has_keys))
    today = floor(now, "day")
    words = gettext("Calls a day by model, the last %(days)d days") % {"days": CHART_DAYS}
    context = {
        "today": _sums([row for row in rows if row.start >= today]),
        "yesterday": _sums([row for row in rows if today - timedelta(days=1) <= row.start < today]),
        "month": month,
        "quota": _quota(by_window(limits.meters, "month"), now),
        "living": keys.living().count(),
        "expiring": _expiring(seat, now),
        "limits": limits,
        "refusals": refusals(seat.account, now),
        "chart": chart_of(
            rows, steps(_first_day(now), now, "day"), "day", series_of=lambda row: row.model or "", words=words
        ),
    }
    return show(request, seat, "overview/overview", context)


def _first_day(now: datetime) -> datetime:
    return floor(now, "day") - timedelta(days=CHART_DAYS - 1)


def _days(seat: Seat, now: datetime) -> list[UsageRow]:
    selection = UsageSelection(
        start=_first_day(now),
        end=floor(now, "hour") + HOUR,
        interval="day",
        groups=("model",),
        accounts=(seat.account.public_id,),
    )
    return read_usage(selection, most=_MOST_ROWS)


def _month(seat: Seat, days: list[UsageRow], now: datetime) -> list[UsageRow]:
    """This month's usage: of the days that were read already, except on the 31st."""
    if month_start(now) >= _first_day(now):
        return [row for row in days if row.start >= month_start(now)]
    selection = UsageSelection(
        start=month_start(now), end=floor(now, "hour") + HOUR, accounts=(seat.account.public_id,)
    )
    return read_usage(selection, most=1)


def _sums(rows: list[UsageRow]) -> Sums:
    return Sums(sum(row.allowed for row in rows), sum(row.refused for row in rows), sum(row.units for row in rows))


def _quota(month: Meter | None, now: datetime) -> dict[str, Any] | None:
    """The month's quota, where the plan has one for the whole account."""
    if month is None:
        return None
    return {"amount": month.limit.amount, "unit": month.limit.unit, "meter": month, "renews": end_of("month", now)}


def _expiring(seat: Seat, now: datetime) -> list[ApiKey]:
    soon = ApiKey.objects.active().filter(account=seat.account, expires_at__lte=now + EXPIRES_SOON)
    return list(soon.order_by("expires_at")[:MOST_EXPIRING])


def _first_steps(seat: Seat, *, has_keys: bool) -> dict[str, Any]:
    model: ServedModel | None = seat.account.plan.included().filter(enabled=True).first()
    return {
        "has_keys": has_keys,
        "may_issue": seat.may(Action.ISSUE_KEY),
        "plain": {"key_id": id_for_a_form(), "which": ALL, "expiry": NEVER},
        "model": model,
        "calls": ready_calls(model) if model else [],
    }
