"""Requests at a steady rate, whatever happens to earlier ones: like many clients, unlike a single one that waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True)
class Call:
    at: float  # seconds of time.monotonic()
    took: float
    status: int  # 0: no answer


@dataclass
class Traffic:
    """A request and its result."""

    calls: list[Call] = field(default_factory=list)
    late: float = 0.0  # how far this process itself fell behind, which is not the stack's fault

    def failed(self, since: float = 0.0) -> list[Call]:
        return [call for call in self.calls if call.status != 200 and call.at >= since]

    def longest(self, since: float = 0.0) -> float:
        return max(call.took for call in self.calls if call.at >= since)

    def told(self, since: float) -> str:
        """For a test's message and for docs/operations.md."""
        after = [call for call in self.calls if call.at >= since]
        failed = [(round(call.at - since, 2), call.status) for call in self.failed(since)]
        return f"{len(after)} calls, {len(failed)} failed {failed}, longest {self.longest(since):.2f} s"


@contextmanager
def steady(
    url: str, host: str, path: str, keys: Sequence[str], *, per_second: int = 50, patience: float = 15
) -> Iterator[Traffic]:
    """In a thread, so that the block can act on the stack meanwhile. Keys take turns."""
    traffic, over = Traffic(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_ask(traffic, over, url, host, path, keys, per_second, patience))
    )
    thread.start()
    try:
        yield traffic
    finally:
        over.set()
        thread.join(patience + 5)


async def _ask(traffic, over, url, host, path, keys, per_second, patience):
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=url, headers={"Host": host}, trust_env=False, timeout=patience, limits=limits
    ) as client:
        calls, number, begin = set(), 0, time.monotonic()
        while not over.is_set():
            call = asyncio.create_task(_one(traffic, client, path, keys[number % len(keys)]))
            calls.add(call)
            call.add_done_callback(calls.discard)
            number += 1
            due = begin + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            traffic.late = max(traffic.late, time.monotonic() - due)
        await asyncio.gather(*calls)


async def _one(traffic, client, path, key):
    at = time.monotonic()
    try:
        status = (await client.get(path, headers={"Authorization": f"Bearer {key}"})).status_code
    except httpx.HTTPError:
        status = 0
    traffic.calls.append(Call(at, time.monotonic() - at, status))
