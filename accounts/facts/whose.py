"""How a gate finds out whether Redis holds its deployment's data: outside of its decisions, at no cost to them.

A gate learns facts by looking keys up, and asks there: a gate of another deployment never learns any.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from store import names
from store.clients import StoreRefused, StoreUnavailable
from store.commands import command
from store.link import Link

TRUSTED_SECONDS = 10.0
LEARN_AGAIN_SECONDS = 1.0
_LOOK = command("GET", names.DEPLOYMENT)
_ANOTHER = "redis holds the data of another deployment: see AUTHSVC_REDIS_PREFIX"

log = logging.getLogger(__name__)


class Whose:
    """What one process knows about that."""

    def __init__(self, link: Link, read_ours: Callable[[], Awaitable[str | None]], forget: Callable[[], None]) -> None:
        self._link, self._read_ours, self._forget = link, read_ours, forget
        self._ours: str | None = None
        self._trusted_at = self._learnt_at = float("-inf")

    @property
    def ours(self) -> str | None:
        """This deployment's identity, once it is known."""
        return self._ours

    @property
    def is_certain(self) -> bool:
        """Whether Redis was found to be ours recently enough that `require_ours` would not ask it again."""
        return monotonic() - self._trusted_at < TRUSTED_SECONDS

    async def require_ours(self) -> None:
        """Raises StoreRefused if Redis is known to belong to another deployment, StoreUnavailable if it is away.

        The gate works without the database: a process that could not ask it yet assumes that Redis is its own.
        """
        if not self.is_certain:
            await self._judge(await self._link.ask(names.CATALOGUE_PARTITION, _LOOK))

    async def claim(self, ours: str | None) -> None:
        """Claim Redis before filling it from the database, which just told our identity. Raises as `require_ours`."""
        if ours is not None:
            self._ours = ours
            claim = command("SET", names.DEPLOYMENT, ours, "NX", "GET")
            await self._judge(await self._link.ask(names.CATALOGUE_PARTITION, claim))

    async def learn(self) -> None:
        """Ask the database for our identity before the first question. If it is away, `watch` asks again."""
        self._learnt_at = monotonic()
        self._ours = await self._read_ours() or self._ours

    async def watch(self) -> None:
        """Keep asking: a process that was not sure at first, or found another's Redis, may be right later."""
        while True:
            self._trusted_at = float("-inf")
            with suppress(StoreUnavailable):
                await self.require_ours()
            await asyncio.sleep(TRUSTED_SECONDS)
            if self._ours is None:
                await self.learn()

    async def _judge(self, theirs: bytes | None) -> None:
        if self._differs(theirs) and monotonic() - self._learnt_at >= LEARN_AGAIN_SECONDS:
            await self.learn()
        if not self._differs(theirs):
            self._link.refusal, self._trusted_at = "", monotonic()
            return
        if not self._link.refusal:
            log.error(_ANOTHER)
        self._link.refusal, self._trusted_at = _ANOTHER, float("-inf")
        self._forget()
        raise StoreRefused(_ANOTHER)

    def _differs(self, theirs: bytes | None) -> bool:
        return theirs is not None and self._ours is not None and theirs.decode() != self._ours
