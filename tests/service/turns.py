"""A process that asks in turns: each line of JSON on stdin is a Turn, and its Outcome goes to stdout.

It needs no Django, so that what it measures is the server's time and not its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

from tests.load.client import Connection
from tests.servers import ROOT


class Turn(NamedTuple):
    """Send each request over a connection of its own, again and again, with a pause after each answer."""

    port: int
    requests: list[str]
    seconds: float
    pause: float = 0


class Outcome(NamedTuple):
    statuses: dict[str, int]
    p50: float  # milliseconds


class Asker:
    """Another process that takes turns."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, turn: Turn) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(turn) + "\n")
        self._process.stdin.flush()

    def end(self) -> Outcome:
        assert self._process.stdout is not None
        return Outcome(*json.loads(self._process.stdout.readline()))

    def take(self, turn: Turn) -> Outcome:
        self.begin(turn)
        return self.end()


@contextmanager
def asker() -> Iterator[Asker]:
    command = [sys.executable, "-m", "tests.service.turns"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Asker(process)
    finally:
        process.kill()
        process.communicate()


async def take(turn: Turn) -> Outcome:
    statuses: Counter[str] = Counter()
    taken: list[float] = []
    end = monotonic() + turn.seconds

    async def run(request: bytes) -> None:
        connection = Connection(turn.port)
        while (began := monotonic()) < end:
            statuses[str(await connection.ask(request))] += 1
            taken.append(monotonic() - began)
            await asyncio.sleep(turn.pause)
        await connection.close()

    await asyncio.gather(*(run(request.encode()) for request in turn.requests))
    return Outcome(dict(statuses), median(taken) * 1000)


def main() -> None:
    for line in sys.stdin:
        outcome: Any = asyncio.run(take(Turn(*json.loads(line))))
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
