"""A process that asks as fast as it can: `python -m tests.load.fire PORT CONNECTIONS SECONDS`.

The questions come on stdin as JSON, {name: question}. It prints one line of JSON when it is ready and, after a line on
stdin, asks over all connections until the time is over; every answer is waited for. Then it prints what was answered,
{name: {status: count}}, and the seconds from the first question to the last answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import cycle, islice
from time import monotonic

from tests.load.client import Connection


async def fire(port: int, questions: Mapping[str, bytes], connections: int, seconds: float) -> dict[str, Counter[int]]:
    """Ask every question in turn over each connection; each connection begins with a different one."""
    answered: dict[str, Counter[int]] = {name: Counter() for name in questions}
    end = monotonic() + seconds

    async def run(place: int) -> None:
        connection = Connection(port)
        for name in islice(cycle(questions), place, None):
            answered[name][await connection.ask(questions[name])] += 1
            if monotonic() > end:
                break
        await connection.close()

    await asyncio.gather(*(run(place) for place in range(connections)))
    return answered


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    questions = {name: text.encode() for name, text in json.loads(sys.stdin.readline()).items()}
    _say("ready")
    sys.stdin.readline()
    began = monotonic()
    answered = asyncio.run(fire(port, questions, connections, seconds))
    _say({"answered": answered, "seconds": monotonic() - began})


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
