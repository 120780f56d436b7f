"""A cluster's masters, with a pipe to each. redis-py keeps the slot map, we keep the pipes."""

from __future__ import annotations

import asyncio
import logging
from binascii import crc_hqx
from contextlib import suppress

from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError

from store import clients, names
from store.address import RedisAddress
from store.clients import StoreUnavailable
from store.dial import sign_in, to_host
from store.pipe import DECISION_SECONDS, LONGEST_PAUSE_SECONDS, TICK_SECONDS, Pipe, shut

_SLOTS = 16384
_LOOK_AGAIN_SECONDS = 1.0

# What redis-py raises when it cannot ask. Its cluster client's exceptions are not RedisErrors, and an empty slot map
# raises KeyError.
CANNOT_ASK = (RedisError, RedisClusterException, KeyError, TimeoutError, OSError)

log = logging.getLogger(__name__)


class Masters:
    """Which master has which partition, as far as that is known."""

    def __init__(self, address: RedisAddress, seconds: float) -> None:
        self._address, self._seconds = address, seconds
        self._tls = address.tls.context() if address.tls else None
        # A node that accepts and never answers must not use up the others' time.
        self.client = clients.async_client(address, seconds, seconds / len(address.nodes))
        self._pipes: dict[str, Pipe] = {}
        self._are_known = False
        self.trouble = ""
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    async def known(self) -> None:
        """Wait until the masters are known, unless a wait has already failed. Raises StoreUnavailable."""
        if self._are_known:
            return
        self.look()
        if self._looking is not None and not self.trouble:
            await asyncio.wait([self._looking], timeout=DECISION_SECONDS)
        if not self._are_known:
            self.trouble = self.trouble or "no node of the redis cluster answered in time"
            raise StoreUnavailable(self.trouble)

    def look(self) -> None:
        """Start asking for the masters, unless that is under way."""
        if self._looking is None:
            self._looked_at = asyncio.get_running_loop().time()
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def pipe(self, partition: str) -> Pipe:
        """The pipe to the partition's master. Raises StoreUnavailable."""
        node = self._node(partition)
        pipe = self._pipes.get(node.name)
        if pipe is None:
            return self._open(node)
        if pipe.is_broken and asyncio.get_running_loop().time() - self._looked_at >= _LOOK_AGAIN_SECONDS:
            self.look()  # it may have a successor, and nothing else makes redis-py ask for a new slot map
        return pipe

    def partitions(self) -> list[str]:
        """One partition of each master. Raises StoreUnavailable."""
        if not self._are_known:
            raise StoreUnavailable(self.trouble or "the masters of the redis cluster are not known yet")
        found: dict[str, str] = {}
        masters = len(self.client.get_primaries())
        for partition in names.ALL_PARTITIONS:
            found.setdefault(self._node(partition).name, partition)
            if len(found) == masters:
                break
        return list(found.values())

    def _node(self, partition: str) -> ClusterNode:
        slot = crc_hqx(partition.encode(), 0) % _SLOTS
        try:
            node: ClusterNode = self.client.nodes_manager.get_node_from_slot(slot)
        except CANNOT_ASK as error:
            raise StoreUnavailable("no node of the redis cluster has this partition") from error
        return node

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await shut(list(self._pipes.values()))
        await self.client.aclose()

    def _open(self, node: ClusterNode) -> Pipe:
        connect = to_host(node.host, int(node.port), self._tls)
        pipe = self._pipes[node.name] = Pipe(connect, sign_in(self._address), self._seconds)
        return pipe

    async def _look(self) -> None:
        pause = TICK_SECONDS
        while not await self._ask():
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self._looking = None

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                if self._are_known:
                    await self.client.nodes_manager.initialize()
                else:
                    await self.client.initialize()
        except CANNOT_ASK as error:
            trouble = f"no node of the redis cluster names its masters ({type(error).__name__})"
            if trouble != self.trouble:
                log.error("%s", trouble)
            self.trouble = trouble
            return self._are_known  # an existing map is used on, and asked for again when a pipe breaks
        self._are_known, self.trouble = True, ""
        masters = {node.name for node in self.client.get_primaries()}
        for name in [name for name in self._pipes if name not in masters]:
            self._pipes.pop(name).close()
        return True
