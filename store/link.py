"""The gate's link to Redis: which pipe serves an account's partition, and which commands may be sent again."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
from django.conf import settings

from store import clients, names
from store.address import read_address
from store.clients import StoreRefused, StoreUnavailable
from store.commands import ScriptCall, Sendable, command
from store.dial import sign_in, to_master
from store.masters import CANNOT_ASK, Masters
from store.pipe import DECISION_SECONDS, Pipe, Reply, shut

_READ_ONLY = "redis is read-only: it is a replica, or has become one"

# Errors that mean "not executed": the command may be sent again, by a client that knows scripts, slots and masters.
_NOT_EXECUTED = ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "LOADING", "READONLY")


class Link:
    """All connections from one event loop to Redis."""

    def __init__(self, url: str) -> None:
        self._address, self._seconds = read_address(url), float(settings.REDIS_CONNECT_SECONDS)
        self._client: Any = None
        self._loading: dict[tuple[str, str], asyncio.Future[Reply]] = {}
        self._masters: Masters | None = None
        self.refusal = ""  # why the data in Redis must not be used, although Redis answers
        if self._address.kind == "cluster":
            self._masters = Masters(self._address, self._seconds)
        else:
            self._pipe = Pipe(to_master(self._address, self._seconds), sign_in(self._address), self._seconds)

    def open(self) -> None:
        """Start connecting before the first question."""
        if self._masters is None:
            self._pipe.open()
        else:
            self._masters.look()

    def send(self, partition: str, packed: bytes, deadline: float | None = None) -> asyncio.Future[Reply]:
        """Queue a packed command for the partition's master. Raises StoreUnavailable, as its future may.

        The reply arrives by `deadline` (monotonic seconds) if one is given, otherwise within a decision's time.
        """
        pipe = self._pipe if self._masters is None else self._masters.pipe(partition)
        return pipe.ask(packed, deadline)

    async def ask(self, partition: str, asked: Sendable) -> Reply:
        """The reply to a command, which is sent again only if Redis did not execute it. Raises StoreUnavailable."""
        if self._masters is not None:
            await self._masters.known()
        reply = await self.send(partition, asked.packed())
        if isinstance(reply, hiredis.ReplyError):
            return await self.again(partition, asked, reply)
        return reply

    async def again(self, partition: str, asked: Sendable, error: hiredis.ReplyError) -> Reply:
        """Send a command again that, by this error, Redis did not execute. Raises StoreUnavailable for other errors."""
        word = _word(error)
        if word == "NOSCRIPT" and isinstance(asked, ScriptCall):
            # Every call in flight finds the script gone at once: it is loaded once, then they all go the usual way.
            reply = await self._with_its_script(partition, asked)
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            word = _word(reply)
        if word == "READONLY":
            self._pipe_of(partition).drop(_READ_ONLY)
        return await self._alone(word, asked)

    async def _with_its_script(self, partition: str, call: ScriptCall) -> Reply:
        name = (partition, call.script.sha)
        loading = self._loading.get(name)
        if loading is None:
            load = command("SCRIPT", "LOAD", call.script.source)
            loading = self._loading[name] = self.send(partition, load.packed())
            loading.add_done_callback(lambda _: self._loading.pop(name, None))
        is_refused = isinstance(await asyncio.shield(loading), hiredis.ReplyError)
        # An ACL may forbid SCRIPT; EVAL loads the script as well.
        return await self.send(partition, call.packed_with_source() if is_refused else call.packed())

    async def _alone(self, word: str, asked: Sendable) -> Reply:
        """Through redis-py, which knows slots and masters."""
        try:
            async with asyncio.timeout(DECISION_SECONDS):
                return await asked.run(self._ordinary_client())
        except CANNOT_ASK as failure:
            why = _READ_ONLY if word == "READONLY" else f"redis answered {word}"
            raise StoreUnavailable(f"{why}, and could not be asked again") from failure

    def _ordinary_client(self) -> Any:
        if self._masters is not None:
            return self._masters.client
        if self._client is None:
            self._client = clients.async_client(self._address, self._seconds, DECISION_SECONDS)
        return self._client

    def partitions(self) -> list[str]:
        """A partition for each master, to address it by. Raises StoreUnavailable."""
        return [names.CATALOGUE_PARTITION] if self._masters is None else self._masters.partitions()

    @property
    def trouble(self) -> str:
        """Why there is no connection, if that is known."""
        return self._pipe.trouble if self._masters is None else self._masters.trouble

    async def close(self) -> None:
        if self._masters is not None:
            await self._masters.close()
            return
        await shut([self._pipe])
        if self._client is not None:
            await self._client.aclose()

    def _pipe_of(self, partition: str) -> Pipe:
        return self._pipe if self._masters is None else self._masters.pipe(partition)


def _word(error: hiredis.ReplyError) -> str:
    """The first word of an error. Raises StoreRefused unless it means "not executed"."""
    word = str(error).partition(" ")[0]
    if word not in _NOT_EXECUTED:
        Pipe.meter.failed("refused")
        raise StoreRefused(f"redis answered {word}")
    return word


_links: dict[asyncio.AbstractEventLoop, Link] = {}


def link() -> Link:
    """This event loop's link, made on first use."""
    loop = asyncio.get_running_loop()
    found = _links.get(loop)
    if found is None:
        for ended in [known for known in _links if known.is_closed()]:
            del _links[ended]
        found = _links[loop] = Link(str(settings.REDIS_URL))
    return found


def open_link() -> Link | None:
    """This event loop's link, if it has been made."""
    return _links.get(asyncio.get_running_loop())


async def close_link() -> None:
    """Close this event loop's link, if there is one."""
    found = _links.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
