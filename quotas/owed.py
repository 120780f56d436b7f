"""What passed while Redis was away (AUTHSVC_WHEN_REDIS_IS_DOWN=allow): counted when it is back, once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from time import time

from quotas.buckets import Versions, Wanted, clock
from quotas.limits import calendar_window
from store import names
from store.clients import StoreRefused, script
from store.link import Link, Script

REPAY = Script(script(Path(__file__).parent / "lua" / "repay.lua"))
MOST = 100_000  # keys × models × hours; beyond that calls pass uncounted, and are told so in the log

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Debt:
    """Calls of one key to one model in one hour. Its id lets Redis refuse to count it twice."""

    wanted: Wanted
    hour: int
    id: str
    calls: int = 0
    last_use: int = 0

    def command(self) -> bytes:
        wanted = self.wanted
        account, key = wanted.key_id[: len(wanted.key_id) // 2], wanted.key_id
        keys = [
            names.account(account),
            names.usage(key, wanted.model, self.hour),
            names.changed(wanted.partition),
            names.repaid(wanted.partition, self.id),
        ]
        args: list[str | int] = [self.calls, self.calls * (wanted.cost - 1), f"u:{wanted.secret}", self.last_use]
        for limit in wanted.limits:
            if not limit.is_smoothed:
                subject = account if limit.scope == "account" else key
                taken, in_window, _ = names.counter(subject[-8:], limit.model, limit.unit, limit.window)
                window = calendar_window(limit.window, self.hour)
                args += [taken, in_window, window.number, self.calls * limit.cost_of(wanted.cost)]
        return REPAY.command(keys, args)


class Owed:
    """The debts of one process. They die with it: a permit without Redis is worth that much less than one with it."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int, Versions, int], Debt] = {}
        self._sent: list[Debt] = []  # whose answer was lost: with the same id and amount until Redis says so
        self.left_out = 0

    def __bool__(self) -> bool:
        return bool(self._open or self._sent)

    def note(self, wanted: Wanted) -> None:
        """One call has passed."""
        hour = clock.hour()
        name = (wanted.key_id, wanted.model, hour, wanted.versions, wanted.secret)  # charged by the terms it passed by
        debt = self._open.get(name)
        if debt is None:
            if len(self._open) >= MOST:
                self.left_out += 1
                return
            debt = self._open[name] = Debt(wanted, hour, token_hex(16))
        debt.calls += 1
        debt.last_use = int(time())

    async def repay(self, link: Link) -> int:
        """Count what is owed; the number of debts counted. Raises StoreUnavailable, and then nothing is forgotten."""
        self._sent += self._open.values()
        self._open.clear()
        counted = 0
        if self.left_out:
            log.error("%d calls that passed without redis are counted nowhere: too many keys at once", self.left_out)
            self.left_out = 0
        while self._sent:
            debt = self._sent[-1]
            try:
                await link.ask(debt.wanted.partition, debt.command())
                counted += 1
            except StoreRefused as error:
                # Asking again would get the same answer, and hold up all others.
                log.error("%d calls of key %s are counted nowhere: %s", debt.calls, debt.wanted.key_id, error)
            self._sent.pop()
        return counted
