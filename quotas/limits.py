"""`Limit`: an amount per window, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1_000_000  # in microseconds, the unit of every time in the script

# The smoothed windows and their length in microseconds; `day` and `month` are calendar windows.
SMOOTHED = {"second": SECOND, "minute": 60 * SECOND, "hour": 3600 * SECOND}
CALENDAR = ("day", "month")
WINDOWS = (*SMOOTHED, *CALENDAR)
SCOPES = ("account", "key")
UNITS = ("requests", "units")

MOST_BURST = MOST_SMOOTHED = 10**9  # up to which lua/take.lua computes exactly
MOST_COST = 1_000_000  # of a call to a model
MOST_CALENDAR = 10**12
EVERY_MODEL = "*"

HOUR_SECONDS = 3600
DAY_SECONDS = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An amount per window, for one subject of its scope.

    `name` is the policy name in headers; `since` is the microsecond from which it has been counted,
    which only matters to calendar windows.
    """

    name: str
    scope: str
    amount: int
    window: str
    unit: str = "requests"
    model: str = EVERY_MODEL
    burst: int | None = None
    shadow: bool = False
    since: int = 0

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What names its counter besides the subject: never the name of a plan or of the limit itself."""
        return (self.scope, self.model, self.unit, self.window)

    @property
    def is_smoothed(self) -> bool:
        return self.window in SMOOTHED

    @property
    def room(self) -> int:
        """The most that a call can take at once: the burst, or the whole quota."""
        return self.amount if self.burst is None or not self.is_smoothed else self.burst

    def applies_to(self, model: str) -> bool:
        return self.model in (EVERY_MODEL, model)

    def cost_of(self, cost: int) -> int:
        """How much a call to a model of this cost takes."""
        return cost if self.unit == "units" else 1


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """A UTC day or month: its consecutive number, its start, and its exclusive end, in seconds since 1970."""

    number: int
    start: int
    end: int


@lru_cache(64)
def calendar_window(window: str, hour: int) -> CalendarWindow:
    """The day or month that an hour (hours since 1970) falls into."""
    if window == "day":
        day = hour // 24
        return CalendarWindow(day, day * DAY_SECONDS, (day + 1) * DAY_SECONDS)
    first = hour_start(hour).replace(day=1, hour=0)
    after = (first + timedelta(days=32)).replace(day=1)
    return CalendarWindow(first.year * 12 + first.month - 1, int(first.timestamp()), int(after.timestamp()))


def hour_of(moment: datetime) -> int:
    """Hours since 1970."""
    return int(moment.timestamp()) // HOUR_SECONDS


def hour_start(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * HOUR_SECONDS, UTC)
