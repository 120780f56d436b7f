"""How Redis is, and who reports there, for a page: asked for a bounded time, by one thread, so that nothing piles up
behind a Redis that hangs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from redis.exceptions import RedisError

from runtime.processes import ReportedProcess, read_processes
from store.examination import Examination, by_client

SECONDS = 0.8

_thread = ThreadPoolExecutor(1, "examine-redis")
_lock = Lock()
_asked: list[Future[ServiceCondition]] = []  # the last question, which is shared until it is answered


@dataclass(frozen=True, slots=True)
class ServiceCondition:
    """What Redis told. Without `processes`, it could not be asked who runs."""

    store: Examination
    processes: list[ReportedProcess] | None


def examine() -> ServiceCondition:
    """Ask Redis, or wait for a request that is already asking."""
    with _lock:
        if not _asked or _asked[0].done():
            _asked[:] = [_thread.submit(_ask)]
        asked = _asked[0]
    try:
        return asked.result(SECONDS)
    except TimeoutError:
        return ServiceCondition(Examination(("the store does not answer (TimeoutError)",)), None)


def _ask() -> ServiceCondition:
    store = by_client()
    try:
        return ServiceCondition(store, read_processes())
    except (RedisError, OSError):  # the examination has found out as well
        return ServiceCondition(store, None)
