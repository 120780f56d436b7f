"""What is due to be told: keys that expire or lie idle, quotas that are used up, and what just happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Exists, F, Max, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import Account, ApiKey, KeySecret, ManagementKey, Notification
from accounts.notifications.recipients import TOPIC_OF, Kind, is_on, people_of
from quotas.limits import CALENDAR, SECOND, CalendarWindow, Limit, calendar_window, hour_of
from quotas.models import Plan
from quotas.terms import limits_in_force
from store import clients, names
from store.commands import command

UNUSED_AFTER = timedelta(days=90)
EXPIRIES = {Kind.EXPIRES_IN_A_WEEK: timedelta(days=7), Kind.EXPIRES_TOMORROW: timedelta(days=1)}
NEARLY = 80  # percent of a quota
MOST_KEYS = 50  # of one account that one look finds; the next look finds more
_BATCH = 500


class Occasion(NamedTuple):
    """Something to tell everybody who looks after an account."""

    kind: str
    account: str
    subject: str
    moment: datetime
    details: dict[str, Any]


def tell(occasions: Iterable[Occasion]) -> None:
    """Leave a notification for each person concerned. One that is there already stays as it is."""
    by_kind: dict[str, list[Occasion]] = defaultdict(list)
    for occasion in occasions:
        by_kind[occasion.kind].append(occasion)
    for kind, found in by_kind.items():
        people = people_of({occasion.account for occasion in found}, TOPIC_OF[kind])
        rows = [
            Notification(
                user_id=user,
                kind=kind,
                account=occasion.account,
                subject=occasion.subject,
                moment=occasion.moment,
                details=occasion.details,
            )
            for occasion in found
            for user in people.get(occasion.account, ())
        ]
        Notification.objects.bulk_create(rows, batch_size=_BATCH, ignore_conflicts=True)


# Keys


def tell_of_expiring_keys(now: datetime) -> None:
    for kind, ahead in EXPIRIES.items():
        _tell_of_keys(kind, expiring(now, ahead), "expires_at")


def tell_of_unused_keys(now: datetime) -> None:
    _tell_of_keys(Kind.UNUSED, unused(now), "idle_since")


def expiring(now: datetime, ahead: timedelta) -> QuerySet[ApiKey]:
    """Active keys that expire within this time. Not those that were issued for less than that: their owners know."""
    rows = ApiKey.objects.active().filter(expires_at__gt=now, expires_at__lte=now + ahead)
    return rows.filter(expires_at__gt=F("created_at") + ahead)


def unused(now: datetime) -> QuerySet[ApiKey]:
    """Active keys that nobody has used for so long, or ever, with the moment since when."""
    uses = KeySecret.objects.filter(key=OuterRef("pk")).order_by().values("key").annotate(latest=Max("last_used_at"))
    rows = ApiKey.objects.active().filter(created_at__lt=now - UNUSED_AFTER)
    since = Coalesce(Subquery(uses.values("latest")), F("created_at"))
    return rows.annotate(idle_since=since).filter(idle_since__lt=now - UNUSED_AFTER)


def _tell_of_keys(kind: str, keys: QuerySet[ApiKey], moment: str) -> None:
    """Tell of those of which nobody was told yet, a few of each account."""
    told = Notification.objects.filter(kind=kind, subject=OuterRef("public_id"), moment=OuterRef(moment))
    rows = keys.filter(~Exists(told)).order_by("pk").values_list("account__public_id", "public_id", moment)
    of_account: Counter[str] = Counter()
    occasions = []
    for account, key, at in rows.iterator(_BATCH):
        of_account[account] += 1
        if of_account[account] <= MOST_KEYS:
            occasions.append(Occasion(kind, account, key, at, {}))
    for batch in _batches(iter(occasions)):
        tell(batch)


def _batches(occasions: Iterator[Occasion]) -> Iterator[list[Occasion]]:
    while batch := list(islice(occasions, _BATCH)):
        yield batch


# Quotas


def tell_of_quotas(public_ids: Iterable[str], now: datetime) -> None:
    """Compare what these accounts have taken with their quotas. Raises RedisError."""
    wanted = iter(sorted(public_ids))
    while batch := list(islice(wanted, _BATCH)):
        rows = Account.objects.filter(public_id__in=batch, closed_at=None, suspended_at=None)
        accounts = list(rows.select_related("plan").prefetch_related("plan__limits__model", "overrides"))
        asked = [(account, limit) for account in accounts for limit in quotas_of(account)]
        taken = _taken(asked, now)
        costs = {account.plan: _cheapest(account.plan) for account in accounts}
        found = (
            _of_quota(account, limit, now, used, costs[account.plan])
            for (account, limit), used in zip(asked, taken, strict=True)
        )
        tell(filter(None, found))


def quotas_of(account: Account) -> list[Limit]:
    """The calendar limits that the account's keys share."""
    plan = [row.value() for row in account.plan.limits.all()]
    overrides = {row.limit_name: row for row in account.overrides.all()}
    limits = limits_in_force(plan, overrides, int(account.plan_since.timestamp() * SECOND), ())
    return [one for one in limits if one.scope == "account" and one.window in CALENDAR and not one.shadow]


def _taken(asked: list[tuple[Account, Limit]], now: datetime) -> list[int]:
    """What was taken from each quota in its current window, as the gate counts it."""
    fields = [names.counter(account.public_id, one.model, one.unit, one.window)[:2] for account, one in asked]
    commands = [
        command("HMGET", names.account(account.public_id), *two)
        for (account, _), two in zip(asked, fields, strict=True)
    ]
    found = clients.send_all(commands) if commands else []
    return [
        int(taken or 0) if int(window or -1) == _window(limit, now).number else 0
        for (_, limit), (taken, window) in zip(asked, found, strict=True)
    ]


def _window(limit: Limit, now: datetime) -> CalendarWindow:
    return calendar_window(limit.window, hour_of(now))


def _cheapest(plan: Plan) -> int:
    """What a call to the plan's cheapest model costs: a quota with less left than that is used up."""
    return plan.included().filter(enabled=True).aggregate(least=Min("cost"))["least"] or 1


def _of_quota(account: Account, limit: Limit, now: datetime, taken: int, cheapest: int) -> Occasion | None:
    if taken * 100 < limit.amount * NEARLY:
        return None
    window = _window(limit, now)
    details = {
        "limit": limit.name,
        "amount": limit.amount,
        "unit": limit.unit,
        "model": limit.model,
        "window": limit.window,
        "renews": window.end,
    }
    is_used_up = taken + limit.cost_of(cheapest) > limit.amount
    kind = Kind.QUOTA_USED_UP if is_used_up else Kind.QUOTA_NEARLY_USED
    subject = f"{limit.model}:{limit.unit}:{limit.window}"
    start = datetime.fromtimestamp(window.start, UTC)
    return Occasion(kind, account.public_id, f"{account.public_id}:{subject}", start, details)


# What just happened


def tell_of_management_key(row: ManagementKey, by: str) -> None:
    """Call it in the transaction that creates the key."""
    if is_on():
        details = {"name": row.name, "by": by, "scopes": list(row.scopes)}
        tell([Occasion(Kind.MANAGEMENT_KEY, row.account.public_id, row.public_id, timezone.now(), details)])
