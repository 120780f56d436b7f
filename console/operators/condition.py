"""How Redis is, for a page: asked for a bounded time, by one thread, so that nothing piles up behind one that hangs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from store.examination import Examination, by_client

SECONDS = 0.8

_thread = ThreadPoolExecutor(1, "examine-redis")
_lock = Lock()
_asked: list[Future[Examination]] = []  # the last question, which is shared until it is answered


def examine() -> Examination:
    """Ask Redis, or join whoever is asking already."""
    with _lock:
        if not _asked or _asked[0].done():
            _asked[:] = [_thread.submit(by_client)]
        asked = _asked[0]
    try:
        return asked.result(SECONDS)
    except TimeoutError:
        return Examination(("the store does not answer (TimeoutError)",))
