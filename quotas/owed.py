"""Calls that passed while Redis was away (AUTHSVC_WHEN_REDIS_IS_DOWN=allow), counted once when it is back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from time import time

from quotas.buckets import Charge, Versions, clock
from quotas.limits import calendar_window
from store import names
from store.clients import StoreRefused
from store.commands import Script, ScriptCall
from store.link import Link

REPAY = Script.in_file(Path(__file__).parent / "lua" / "repay.lua")
MOST = 100_000  # keys × models × hours; further calls pass uncounted, and the log says how many

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Debt:
    """Calls of one key to one model in one hour. Redis remembers its id, so as not to count it twice."""

    charge: Charge
    hour: int
    id: str
    calls: int = 0
    last_use: int = 0
    last_used_from: str = ""

    def call(self) -> ScriptCall:
        charge = self.charge
        account, key = charge.key_id[: len(charge.key_id) // 2], charge.key_id
        keys = [
            names.account(account),
            names.usage(key, charge.model, self.hour),
            names.changed(charge.partition),
            names.repaid(charge.partition, self.id),
        ]
        use: list[str | int] = [f"u:{charge.secret}", self.last_use, self.last_used_from]
        args: list[str | int] = [self.calls, self.calls * (charge.cost - 1), *use]
        for limit in charge.limits:
            if not limit.is_smoothed:
                subject = account if limit.scope == "account" else key
                taken, in_window, _ = names.counter(subject[-8:], limit.model, limit.unit, limit.window)
                window = calendar_window(limit.window, self.hour)
                args += [taken, in_window, window.number, self.calls * limit.cost_of(charge.cost)]
        return REPAY.call(keys, args)


class Owed:
    """The debts of one process, which are lost with it."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int, Versions, int], Debt] = {}
        self._sent: list[
            Debt
        ] = []  # sent but not acknowledged: they keep their id and amount until Redis confirms them
        self.left_out = 0

    def __bool__(self) -> bool:
        return bool(self._open or self._sent)

    def note(self, charge: Charge, address: str) -> None:
        """Note one call from this address that has passed."""
        hour = clock.hour()
        name = (
            charge.key_id,
            charge.model,
            hour,
            charge.versions,
            charge.secret,
        )  # calls are charged under the terms that they passed by
        debt = self._open.get(name)
        if debt is None:
            if len(self._open) >= MOST:
                self.left_out += 1
                return
            debt = self._open[name] = Debt(charge, hour, token_hex(16))
        debt.calls += 1
        debt.last_use, debt.last_used_from = int(time()), address

    async def repay(self, link: Link) -> int:
        """Count what is owed; the number of debts counted. Raises StoreUnavailable, and then forgets nothing."""
        self._sent += self._open.values()
        self._open.clear()
        counted = 0
        if self.left_out:
            log.error("%d calls that passed without redis will not be counted: too many keys at once", self.left_out)
            self.left_out = 0
        while self._sent:
            debt = self._sent[-1]
            try:
                await link.ask(debt.charge.partition, debt.call())
                counted += 1
            except StoreRefused as error:
                # A retry would get the same answer and hold up all others.
                log.error("%d calls of key %s will not be counted: %s", debt.calls, debt.charge.key_id, error)
            self._sent.pop()
        return counted
