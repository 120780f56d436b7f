"""Many keep-alive connections to one gate. It needs no Django, so that a process of its own can ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the answer."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(length)
        return int(head[9:12])

    async def judged(self, request: bytes) -> int:
        """The status of an answer that is a judgement: on a machine that is too busy, 503 says that there is none."""
        for _ in range(20):
            if (status := await self.ask(request)) != 503:
                return status
            await asyncio.sleep(0.05)
        return status

    async def close(self) -> None:
        if self._reader is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()


async def ask_all(port: int, requests: Iterator[bytes], connections: int = 64) -> Counter[int]:
    """Send all requests over that many connections at once, and count the statuses."""
    statuses: Counter[int] = Counter()

    async def run() -> None:
        connection = Connection(port)
        for request in requests:
            statuses[await connection.ask(request)] += 1
        await connection.close()

    await asyncio.gather(*(run() for _ in range(connections)))
    return statuses


class Load:
    """Keep sending requests in the background until the block ends."""

    def __init__(self, port: int, requests: list[bytes], connections: int = 16) -> None:
        self._port, self._requests, self._connections = port, requests, connections
        self.statuses: Counter[int] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._on = True

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run(place)) for place in range(self._connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._on = False
        await asyncio.gather(*self._tasks)

    async def _run(self, place: int) -> None:
        connection = Connection(self._port)
        while self._on:
            self.statuses[await connection.ask(self._requests[place % len(self._requests)])] += 1
            place += 1
        await connection.close()


async def ask_every_worker(port: int, request: bytes, times: int = 8) -> set[int]:
    """Ask over several fresh connections at once, so that each worker is asked."""
    connections = [Connection(port) for _ in range(times)]
    statuses = await asyncio.gather(*(connection.judged(request) for connection in connections))
    for connection in connections:
        await connection.close()
    return set(statuses)
