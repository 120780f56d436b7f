"""One request at a time: the model works in a thread beside the event loop, with a short queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from .problems import Problem

LONGEST_QUEUE = 64

Result = TypeVar("Result")


class Desk:
    """spaCy holds the GIL most of the time, so more threads would only slow each other down.

    And what a model forgets after a text (`language._forgetting`) must not be in use by another one.
    """

    def __init__(self) -> None:
        self._seat = CapacityLimiter(1)

    async def work(self, task: Callable[[], Result]) -> Result:
        if self._seat.statistics().tasks_waiting >= LONGEST_QUEUE:
            raise Problem(503, "The model is busy.", {"Retry-After": "1"})
        return await to_thread.run_sync(task, limiter=self._seat)

    async def one_by_one(self, results: Iterator[Result]) -> AsyncIterator[Result]:
        """Compute each result once the previous one has been taken; others may use the model in between."""
        while (result := await to_thread.run_sync(lambda: next(results, None), limiter=self._seat)) is not None:
            yield result
