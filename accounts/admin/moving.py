"""Changing an account's plan, with what each plan would have refused last week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import Account
from accounts.plan_models import models_of
from console.charts import floor
from console.limits import sentence
from quotas.models import Plan
from quotas.terms import limits_in_force
from quotas.usage.forecast import Forecast, forecast
from quotas.usage.reading import UsageRow, UsageSelection, month_start, read_usage

DAYS = 7
MOST_PLANS = 20  # with an estimate each
MOST_ROWS = 5_000  # of a week by key; accounts with more are told apart by model only
_EVERY_ROW = 100_000


class MoveForm(forms.Form):
    plan = forms.ModelChoiceField(Plan.objects.all())


@dataclass(frozen=True, slots=True)
class PlanOffer:
    """A plan as the page offers it. Without `refused` there were too many plans to ask each."""

    plan: Plan
    is_current: bool
    models: list[str]
    limits: list[str]
    refused: Forecast | None

    @property
    def told(self) -> list[tuple[str, int | None]]:
        """What each limit would have refused on its own, for those that would have."""
        found = self.refused.by_limit if self.refused else ()
        return [(sentence(one.limit), one.calls) for one in found if one.calls is None or one.calls]

    @property
    def share(self) -> float:
        found = self.refused
        return found.at_least / found.calls if found and found.calls else 0.0


@dataclass(frozen=True, slots=True)
class LastWeek:
    """Usage of the last whole days, and of the month before them."""

    start: datetime
    rows: list[UsageRow]
    knows_keys: bool


def offers(account: Account) -> list[PlanOffer]:
    """Every plan, with what it would have refused."""
    plans = list(Plan.objects.prefetch_related("limits__model"))
    week = last_week(account, timezone.now()) if len(plans) <= MOST_PLANS else None
    overrides = {row.limit_name: row for row in account.overrides.all()}
    return [_offer(account, plan, overrides, week) for plan in plans]


def _offer(account: Account, plan: Plan, overrides: dict[str, Any], week: LastWeek | None) -> PlanOffer:
    limits = limits_in_force([limit.value() for limit in plan.limits.all()], overrides, 0, ())
    models = models_of(plan)
    refused = None
    if week is not None:
        refused = forecast(week.rows, limits, models, start=week.start, knows_keys=week.knows_keys)
    words = [sentence(limit) for limit in limits if not limit.shadow]
    return PlanOffer(plan, plan.pk == account.plan_id, sorted(models), words, refused)


def last_week(account: Account, now: datetime) -> LastWeek:
    end = floor(now, "day")
    start = end - timedelta(days=DAYS)
    rows = _read(account, start, end, "hour", ("key", "model"), most=MOST_ROWS + 1)
    knows_keys = len(rows) <= MOST_ROWS
    groups = ("key", "model") if knows_keys else ("model",)
    if not knows_keys:
        rows = _read(account, start, end, "hour", groups)
    if month_start(start) < start:
        rows = [*_read(account, month_start(start), start, "total", groups), *rows]
    return LastWeek(start, rows, knows_keys)


def _read(
    account: Account,
    start: datetime,
    end: datetime,
    interval: str,
    groups: tuple[str, ...],
    *,
    most: int = _EVERY_ROW,
) -> list[UsageRow]:
    selection = UsageSelection(start=start, end=end, interval=interval, groups=groups, accounts=(account.public_id,))
    return read_usage(selection, most=most)
