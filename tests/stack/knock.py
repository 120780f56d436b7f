"""Keep-alive connections, each sending again as soon as it has its answer; prints how they were answered.

python -m tests.stack.knock HOST PORT PATH CONNECTIONS SECONDS ENOUGH    KEY is in the environment

It ends after SECONDS, or as soon as ENOUGH answers were 500, which no gate and no model says.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
PATIENCE = 30  # seconds for one answer; beyond that it counts as none


class Knocks:
    """What was answered, and whether that is enough."""

    def __init__(self, host: str, port: int, path: str, key: str, seconds: float, enough: int) -> None:
        self._address, self._seconds, self._enough = (host, port), seconds, enough
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
        self._request = head.encode()
        self.statuses: Counter[int] = Counter()  # 0: no answer

    async def run(self, connections: int) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self._end = began + self._seconds
        await asyncio.gather(*(self._keep_asking() for _ in range(connections)))
        return time.monotonic() - began

    def _goes_on(self) -> bool:
        return self.statuses[500] < self._enough and time.monotonic() < self._end

    async def _keep_asking(self) -> None:
        while self._goes_on():
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection(*self._address)
                await self._on_one(reader, writer)
            except (OSError, EOFError):
                self.statuses[0] += 1

    async def _on_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            stays = True
            while stays and self._goes_on():
                writer.write(self._request)
                async with asyncio.timeout(PATIENCE):
                    stays = await self._answer(reader)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        self.statuses[int(head[9:12])] += 1
        return length is not None and b"\r\nConnection: close\r\n" not in head


def main() -> None:
    host, port, path, connections, seconds, enough = sys.argv[1:]
    knocks = Knocks(host, int(port), path, os.environ["KEY"], float(seconds), int(enough))
    took = asyncio.run(knocks.run(int(connections)))
    json.dump({"statuses": knocks.statuses, "seconds": took}, sys.stdout)


if __name__ == "__main__":
    main()
