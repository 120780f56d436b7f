"""What is asked of the usage page: a range, an interval, and by what the calls are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from accounts.models import Account
from console.charts import floor
from quotas.usage.reading import HOUR, UsageSelection, month_start

FIRST_DAY = date(1970, 1, 1)
MOST_DAYS = {"hour": 14, "day": 400, "month": 3660}  # of one chart
GROUPED = {"model": gettext_lazy("By model"), "key": gettext_lazy("By key")}


class Range(NamedTuple):
    name: str
    title: str | Promise
    days: int
    interval: str


RANGES = (
    Range("24h", gettext_lazy("24 hours"), 1, "hour"),
    Range("7d", gettext_lazy("7 days"), 7, "day"),
    Range("30d", gettext_lazy("30 days"), 30, "day"),
    Range("90d", gettext_lazy("90 days"), 90, "day"),
    Range("12m", gettext_lazy("12 months"), 365, "month"),
)
USUAL = RANGES[2]
INTERVALS = {"hour": gettext_lazy("By hour"), "day": gettext_lazy("By day"), "month": gettext_lazy("By month")}


@dataclass(frozen=True, slots=True)
class Asked:
    """A range of whole hours. `name` is empty for one with dates of its own."""

    name: str
    start: datetime
    end: datetime
    interval: str
    group: str
    key: str
    model: str

    def selection(self, account: Account) -> UsageSelection:
        # A key's id begins with its account's. Naming the account too would keep the database from going by the key.
        is_of_key = self.key.startswith(account.public_id)
        return UsageSelection(
            start=self.start,
            end=self.end,
            interval=self.interval,
            groups=(self.group,),
            accounts=None if is_of_key else (account.public_id,),
            keys=(self.key,) if self.key else (),
            models=(self.model,) if self.model else (),
        )

    @property
    def last_day(self) -> date:
        return (self.end - timedelta(microseconds=1)).date()


def read(query: QueryDict) -> Asked:
    """What makes sense of a query; the rest is as it is without one."""
    now = timezone.now()
    chosen = next((one for one in RANGES if one.name == query.get("range")), USUAL)
    first, last = _day(query.get("from")), _day(query.get("to"))
    if first and last and first <= last:
        name = ""
        start, end = _midnight(first), _midnight(last) + timedelta(days=1)
    else:
        name, end = chosen.name, floor(now, "hour") + HOUR
        start = end - timedelta(hours=24) if chosen.name == "24h" else _start(chosen, now)
    interval = query.get("interval", "")
    usual = chosen.interval if name else "day" if end - start <= timedelta(days=120) else "month"
    interval = interval if interval in INTERVALS else usual
    if end - start > timedelta(days=MOST_DAYS[interval]):
        interval = "month" if end - start > timedelta(days=MOST_DAYS["day"]) else "day"
    start = max(start, end - timedelta(days=MOST_DAYS["month"]))
    group = query.get("by", "")
    return Asked(
        name,
        start,
        end,
        interval,
        group if group in GROUPED else "model",
        _plain(query.get("key")),
        _plain(query.get("model")),
    )


def _start(chosen: Range, now: datetime) -> datetime:
    if chosen.interval == "month":
        return month_start(month_start(now) - timedelta(days=chosen.days - 40))
    return floor(now, "day") - timedelta(days=chosen.days - 1)


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if FIRST_DAY <= day <= date(2199, 12, 31) else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _plain(text: str | None) -> str:
    """A public id or a slug, or nothing."""
    return text if text and text.isascii() and text.isprintable() and len(text) <= 63 else ""
