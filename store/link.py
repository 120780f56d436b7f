"""The gate's link to Redis: which pipe leads to an account's partition, and what may be sent twice."""

from __future__ import annotations

import asyncio
from hashlib import sha1
from typing import Any

import hiredis
from django.conf import settings

from store import clients, names
from store.address import read_address
from store.clients import StoreRefused, StoreUnavailable
from store.dial import sign_in, to_master
from store.masters import CANNOT_ASK, Masters
from store.pipe import DECISION_SECONDS, Pipe, Reply, pack, shut, unpack

# Replies that mean "not executed": the command may go again, by a client that knows scripts, slots and masters.
_NOT_EXECUTED = ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "LOADING", "READONLY")


class Script:
    """A Lua script: its source, and the digest that names it on the wire."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: list[str], args: list[str | int]) -> bytes:
        return pack("EVALSHA", self.sha, len(keys), *keys, *args)


class Link:
    """Every way from one event loop to Redis."""

    def __init__(self, url: str) -> None:
        self._address, self._seconds = read_address(url), float(settings.REDIS_CONNECT_SECONDS)
        self._client: Any = None
        self._scripts: dict[bytes, str] = {}
        self._loading: dict[tuple[str, bytes], asyncio.Future[Reply]] = {}
        self._masters: Masters | None = None
        self.refusal = ""  # why what Redis holds must not be used, though it answers
        if self._address.kind == "cluster":
            self._masters = Masters(self._address, self._seconds)
        else:
            self._pipe = Pipe(to_master(self._address, self._seconds), sign_in(self._address), self._seconds)

    def knows(self, *scripts: Script) -> None:
        """Scripts that may be loaded again when Redis has forgotten them."""
        for script in scripts:
            self._scripts[script.sha.encode()] = script.source

    def open(self) -> None:
        """Begin to connect before the first question."""
        if self._masters is None:
            self._pipe.open()
        else:
            self._masters.look()

    def send(self, partition: str, command: bytes) -> asyncio.Future[Reply]:
        """Queue a command for the partition's master. Raises StoreUnavailable, as its future may."""
        return self._pipe.ask(command) if self._masters is None else self._masters.pipe(partition).ask(command)

    async def ask(self, partition: str, command: bytes) -> Reply:
        """The reply to a command, sent once more if Redis has not executed it. Raises StoreUnavailable."""
        if self._masters is not None:
            await self._masters.known()
        reply = await self.send(partition, command)
        if isinstance(reply, hiredis.ReplyError):
            return await self.again(partition, command, reply)
        return reply

    async def again(self, partition: str, command: bytes, error: hiredis.ReplyError) -> Reply:
        """Send a command that Redis says it has not executed once more. Raises StoreUnavailable for any other error."""
        word = _word(error)
        if word == "NOSCRIPT":
            # All that were in flight find the script gone at once: it is loaded once, and they go the usual way.
            reply = await self._with_its_script(partition, command)
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            word = _word(reply)
        if word == "READONLY":
            self._pipe_of(partition).drop()
        return await self._alone(word, unpack(command))

    async def _with_its_script(self, partition: str, command: bytes) -> Reply:
        _, sha, *rest = unpack(command)
        source = self._scripts.get(sha)
        if source is None:
            raise StoreUnavailable("redis has forgotten a script that nobody can load")
        loading = self._loading.get((partition, sha))
        if loading is None:
            loading = self._loading[partition, sha] = self.send(partition, pack("SCRIPT", "LOAD", source))
            loading.add_done_callback(lambda _: self._loading.pop((partition, sha), None))
        if isinstance(await asyncio.shield(loading), hiredis.ReplyError):
            command = pack("EVAL", source, *rest)  # an ACL may forbid SCRIPT; EVAL loads it as well
        return await self.send(partition, command)

    async def _alone(self, word: str, args: list[bytes]) -> Reply:
        """Through redis-py, which knows slots and masters."""
        try:
            async with asyncio.timeout(DECISION_SECONDS):
                return await self._ordinary_client().execute_command(args[0].decode(), *args[1:])
        except CANNOT_ASK as failure:
            raise StoreUnavailable(f"redis answered {word} and could not be asked again") from failure

    def _ordinary_client(self) -> Any:
        if self._masters is not None:
            return self._masters.client
        if self._client is None:
            self._client = clients.async_client(self._address, self._seconds, DECISION_SECONDS)
        return self._client

    def partitions(self) -> list[str]:
        """One for each master, through which it can be asked. Raises StoreUnavailable."""
        return [names.CATALOGUE_PARTITION] if self._masters is None else self._masters.partitions()

    @property
    def trouble(self) -> str:
        """Why there is no connection, where that is known."""
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
    """How an error begins. Raises StoreRefused unless it means "not executed"."""
    word = str(error).partition(" ")[0]
    if word not in _NOT_EXECUTED:
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
    """This event loop's link, if somebody has made it."""
    return _links.get(asyncio.get_running_loop())


async def close_link() -> None:
    """Close this event loop's link, if there is one."""
    found = _links.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
