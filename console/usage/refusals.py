"""What was refused lately: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from accounts.models import Account, ApiKey
from accounts.plan_models import models_of
from console.charts import floor
from console.usage.reasons import Reason, over, reason_of
from quotas.limits import Limit
from quotas.terms import limits_in_force
from quotas.usage.reading import HOUR, UsageSelection, read_usage
from quotas.usage.refusals import RefusalRow, read_refusals

HOURS = 24
MOST = 6
NO_MODEL = "-"


class RefusedCalls(NamedTuple):
    """Calls of one key to one model, refused for one reason. Without a name the key is gone from this account."""

    key_id: str
    key_name: str
    model: str
    calls: int
    reason: Reason


class Refusals(NamedTuple):
    """The most frequent ones, and how many more calls were refused, also before reasons were counted."""

    rows: list[RefusedCalls]
    more: int


def refusals(account: Account, now: datetime) -> Refusals:
    """Those of the last hours, the most frequent first."""
    end = floor(now, "hour") + HOUR
    selection = UsageSelection(
        start=end - timedelta(hours=HOURS), end=end, groups=("key", "model"), accounts=(account.public_id,)
    )
    rows = read_refusals(selection, most=MOST)
    total = sum(row.refused for row in read_usage(_in_total(selection), most=1))
    return Refusals(_told(account, rows, now), max(total - sum(row.calls for row in rows), 0))


def _in_total(selection: UsageSelection) -> UsageSelection:
    return UsageSelection(start=selection.start, end=selection.end, accounts=selection.accounts)


def _told(account: Account, rows: list[RefusalRow], now: datetime) -> list[RefusedCalls]:
    if not rows:
        return []
    keys = _keys(account, {row.key or "" for row in rows})
    of_plan = models_of(account.plan)
    limits = _limits(account, keys.values()) if any(row.limit for row in rows) else {}
    told = []
    for row in rows:
        key, model = row.key or "", row.model or ""
        if row.limit is not None:
            reason = over(row.limit, limits.get((key, *row.limit)), now)
        else:
            reason = reason_of(row.reason, model=model, plan_models=of_plan)
        name = keys[key].name if key in keys else ""
        told.append(RefusedCalls(key, name, "" if model == NO_MODEL else model, row.calls, reason))
    return told


def _keys(account: Account, ids: set[str]) -> dict[str, ApiKey]:
    rows = ApiKey.objects.filter(account=account, public_id__in=ids).prefetch_related("limits__model")
    return {key.public_id: key for key in rows}


def _limits(account: Account, keys: Iterable[ApiKey]) -> dict[tuple[str, ...], Limit]:
    """The limits in force, by their key's id and what names them."""
    of_plan = [limit.value() for limit in account.plan.limits.select_related("model")]
    overrides = {row.limit_name: row for row in account.overrides.all()}
    found: dict[tuple[str, ...], Limit] = {}
    for key in keys:
        own = [row.as_limit("key") for row in key.limits.all()]
        for limit in limits_in_force(of_plan, overrides, 0, own):
            found[key.public_id, *limit.identity] = limit
    return found
