"""Connecting a pipe to a Redis master: host names with all of their addresses, TLS and Sentinel.

A connection counts once it has signed in and answered, not when it is merely accepted: a hanging server accepts
connections too, and is passed over for the next address.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from store.address import RedisAddress
from store.clients import StoreUnavailable
from store.commands import pack
from store.keepalive import keep_alive
from store.pipe import NAME, Connect, Connected, Factory
from store.sentinels import async_sentinels

APART_SECONDS = 0.25  # before the next address is tried in parallel (RFC 8305, 5)


def sign_in(address: RedisAddress) -> list[bytes]:
    """The first commands on a new connection."""
    commands = [pack("AUTH", *login)] if (login := address.login.arguments()) else []
    if address.db:
        commands.append(pack("SELECT", address.db))
    return [*commands, NAME]


def to_master(address: RedisAddress, seconds: float) -> Connect:
    """Connect to the one Redis at the address; with Sentinel, to the current master."""
    if address.kind == "sentinel":
        return _through_sentinel(address, seconds)
    if address.path:
        return lambda factory: asyncio.get_running_loop().create_unix_connection(factory, address.path)
    ((host, port),) = address.nodes
    return to_host(host, port, address.tls.context() if address.tls else None)


def to_host(host: str, port: int, tls: ssl.SSLContext | None = None) -> Connect:
    """Connect to any of the addresses that the name has."""

    async def connect(factory: Factory) -> Connected:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        attempts = [partial(_dial, factory, where, tls, host) for *_, where in _mixed(found)]
        return await first_of(attempts, APART_SECONDS)

    return connect


def _mixed(found: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Alternate address families, in the order that the system prefers: a network may not route one of them."""
    families: dict[int, list[tuple[Any, ...]]] = {}
    for one in dict.fromkeys(found):
        families.setdefault(one[0], []).append(one)
    turns = [(turn, order, one) for order, ones in enumerate(families.values()) for turn, one in enumerate(ones)]
    return [one for _, _, one in sorted(turns, key=lambda entry: entry[:2])]


async def _dial(factory: Factory, where: Any, tls: ssl.SSLContext | None, host: str) -> Connected:
    transport, connection = await asyncio.get_running_loop().create_connection(
        factory, where[0], where[1], ssl=tls, server_hostname=host if tls else None
    )
    try:
        keep_alive(transport.get_extra_info("socket"))
        await connection.greet()
    except BaseException:
        connection.close()
        raise
    return transport, connection


async def first_of(attempts: Sequence[Callable[[], Awaitable[Connected]]], apart: float) -> Connected:
    """The first to succeed. The next begins when one has failed, or after `apart` seconds without a result.

    If none succeeds, raises the first failure.
    """
    left, running = deque(attempts), set[asyncio.Task[Connected]]()
    failures: list[BaseException] = []
    try:
        while left or running:
            if left:
                running.add(asyncio.ensure_future(left.popleft()()))
            done, _ = await asyncio.wait(running, timeout=apart if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.discard(task)  # it succeeded and is ours now, or it failed
                if (failure := task.exception()) is None:
                    return task.result()
                failures.append(failure)
    finally:
        await _end(running)
    raise failures[0] if failures else OSError("the name has no address")


async def _end(attempts: set[asyncio.Task[Connected]]) -> None:
    """Close the losers, including one that succeeded just as it was cancelled."""
    for task in attempts:
        task.cancel()
    for ended in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(ended, tuple):
            ended[1].close()


def _through_sentinel(address: RedisAddress, seconds: float) -> Connect:
    tls = address.tls.context() if address.tls else None

    async def connect(factory: Factory) -> Connected:
        sentinels = async_sentinels(address, seconds)
        try:
            host, port = await sentinels.discover_master(address.service)
        except RedisError as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            await sentinels.close_all()
        return await to_host(host, port, tls)(factory)

    return connect
