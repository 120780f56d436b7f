"""`Errand`: a coroutine that runs without a task, as long as it only awaits futures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

log = logging.getLogger(__name__)
_under_way: set[asyncio.Task[Any]] = set()


class Errand(Generic[Result]):
    """Runs a coroutine, and then calls `then` with its result, or with None after an unexpected error, which it logs.

    A coroutine that begins and ends within one round trip needs nothing of a task but to be continued, and a task costs
    more than many of a decision's steps. As soon as it does need one, for a timeout, it has to say so: see `due_by`.
    """

    __slots__ = ("_coroutine", "_then")

    def __init__(self, coroutine: Coroutine[Any, Any, Result], then: Callable[[Result | None], None]) -> None:
        self._coroutine, self._then = coroutine, then

    def go_on(self, _: object = None) -> None:
        """Run up to the next future, or to the end."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as end:
            self._then(end.value)
        except Exception as error:
            self._failed(error)
        else:
            if awaited is None:  # a bare yield
                self._become_a_task()
            else:
                awaited.add_done_callback(self.go_on)

    def _become_a_task(self) -> None:
        task = asyncio.get_running_loop().create_task(self._coroutine)
        _under_way.add(task)  # the loop alone would not keep it from being collected
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Result]) -> None:
        _under_way.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._then(task.result())
        else:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        log.error("a request could not be answered", exc_info=error)
        self._then(None)


@asynccontextmanager
async def due_by(deadline: float) -> AsyncIterator[None]:
    """Like `asyncio.timeout`, up to a moment (monotonic seconds), for what may be on an errand until now."""
    await asyncio.sleep(0)  # a bare yield, after which an errand is a task
    async with asyncio.timeout(deadline - monotonic()):
        yield
