"""What take.lua computes, in whole calls and fractions, with nothing packed or rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from quotas.buckets import Tally, Unloaded
from quotas.limits import SECOND, SMOOTHED, CalendarWindow, Limit, calendar_window


@dataclass
class SlowBucket:
    """The same in calls and fractions, with nothing packed or rounded."""

    window: int
    at: int = 0
    amount: int = 1
    burst: int = 1
    used: Fraction = Fraction(0)
    forgiven: Fraction = Fraction(0)

    def ask(self, now: int, limit: Limit, cost: int, takes: bool) -> Tally:
        used, forgiven = self._at(now, limit)
        owed = used - forgiven
        fits = owed + cost <= limit.room
        # A look or a refusal leaves a bucket alone, unless its limit has changed while something was used of it, or the
        # clock was set back. Only a clock that is set back a little after a look can tell the difference.
        carries_over = used > 0 if self._is_other(limit) else now < self.at
        if takes and fits:
            owed, used = owed + cost, used + cost
        if carries_over or (takes and fits):
            self.at, self.amount, self.burst, self.used, self.forgiven = now, limit.amount, limit.room, used, forgiven
        meters = floor(limit.room - owed), self._seconds(owed, limit)
        if fits:
            return Tally(True, meters)
        return Tally(False, meters, self._seconds(owed + cost - limit.room, limit), (0,))

    def microseconds_until(self, now: int, limit: Limit, cost: int) -> int:
        """How long a call has to wait that was refused just now."""
        used, forgiven = self._at(now, limit)
        return ceil((used - forgiven + cost - limit.room) * self.window / limit.amount)

    def _at(self, now: int, limit: Limit) -> tuple[Fraction, Fraction]:
        """What is used at this moment, and how much of that is forgiven under this limit."""
        used = max(self.used - self._drained(now), Fraction(0))
        return used, max(used - limit.room, Fraction(0)) if self._is_other(limit) else min(self.forgiven, used)

    def _is_other(self, limit: Limit) -> bool:
        return (limit.amount, limit.room) != (self.amount, self.burst)

    def _drained(self, now: int) -> Fraction:
        return Fraction(max(now - self.at, 0) * self.amount, self.window)

    def _seconds(self, calls: Fraction, limit: Limit) -> int:
        """In whole seconds."""
        return ceil(calls * self.window / limit.amount / SECOND)


@dataclass
class SlowQuota:
    """A counter of a UTC day or month. It was loaded long ago, so a window without a count begins at zero."""

    window: str
    number: int = -1
    used: int = 0

    def at(self, now: int) -> CalendarWindow | None:
        """The window that counts; None if only the ledger knows what was used in it."""
        this = calendar_window(self.window, now // (3600 * SECOND))
        if self.number <= this.number:
            return this
        if self.number > this.number + 1 or this.end - now // SECOND > 3600:
            return None
        return calendar_window(self.window, this.end // 3600)

    def ask(self, now: int, limit: Limit, cost: int, takes: bool) -> Tally:
        window = self.at(now)
        assert window is not None
        used = self.used if self.number == window.number else 0
        fits, whole = used + cost <= limit.amount, window.end - now // SECOND
        if takes:
            self.number, self.used = window.number, used + cost
            return Tally(fits, (limit.amount - used - cost, whole))
        wait = 0 if fits else ceil(Fraction(window.end * SECOND - now, SECOND))
        return Tally(fits, (max(limit.amount - used, 0), whole), wait)


@dataclass
class SlowGate:
    """All limits of a key together: a call is taken from each of them, or from none."""

    buckets: dict[object, SlowBucket] = field(default_factory=dict)
    quotas: dict[object, SlowQuota] = field(default_factory=dict)

    def ask(self, now: int, limits: Sequence[Limit], cost: int, *, takes: bool = True) -> Tally | Unloaded:
        if any(self.quota(limit).at(now) is None for limit in limits if not limit.is_smoothed):
            return Unloaded()
        looks = [self._ask(now, limit, cost, False) for limit in limits]
        shown = [(limit, look) for limit, look in zip(limits, looks, strict=True) if not limit.shadow]
        violated = tuple(place for place, (_, look) in enumerate(shown) if not look.granted)
        if violated or not takes:
            meters = tuple(number for _, look in shown for number in look.meters)
            return Tally(not violated, meters, max((look.wait for _, look in shown), default=0), violated)
        taken = [self._ask(now, limit, cost, True) for limit in limits]
        pairs = [tally.meters for limit, tally in zip(limits, taken, strict=True) if not limit.shadow]
        in_shadow = any(limit.shadow and not look.granted for limit, look in zip(limits, looks, strict=True))
        return Tally(True, tuple(number for pair in pairs for number in pair), shadow_refused=in_shadow)

    def microseconds_until(self, now: int, limits: Sequence[Limit], cost: int) -> int:
        """How long a call has to wait that was refused just now."""
        waits = [0]
        for limit in limits:
            if limit.shadow:
                continue
            if limit.is_smoothed:
                waits.append(self.bucket(limit).microseconds_until(now, limit, limit.cost_of(cost)))
            elif not self._ask(now, limit, cost, False).granted:
                window = self.quota(limit).at(now)
                assert window is not None
                waits.append(window.end * SECOND - now)
        return max(waits)

    def _ask(self, now: int, limit: Limit, cost: int, takes: bool) -> Tally:
        counter = self.bucket(limit) if limit.is_smoothed else self.quota(limit)
        return counter.ask(now, limit, limit.cost_of(cost), takes)

    def bucket(self, limit: Limit) -> SlowBucket:
        return self.buckets.setdefault(limit.identity, SlowBucket(SMOOTHED[limit.window]))

    def quota(self, limit: Limit) -> SlowQuota:
        return self.quotas.setdefault(limit.identity, SlowQuota(limit.window))
