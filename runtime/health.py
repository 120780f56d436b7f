"""The admin listener's pages: whether a worker is alive, whether the replica is ready, and its metrics.

Every worker serves them (ADMIN_BIND), and each answer covers the whole replica: `runtime.replica` holds what workers
share. They are never published; Prometheus and the orchestrator ask from inside the network.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from runtime import measures, replica
from store.condition import fullest
from store.examination import Examination, by_client, by_link
from store.link import open_link

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

Asked = Callable[[], Awaitable["Page"]]

STORE_SECONDS = 0.8  # for asking the store; a kubelet's probe times out after one second


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """The answer at a path."""

    status: int
    content_type: str
    body: bytes


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer GET and HEAD at the paths in PAGES."""
    await _answer(await find_page(scope["method"], scope["path"]), scope, send)


async def of_a_worker(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The same without /readyz, which is about taking requests."""
    await _answer(await find_page(scope["method"], scope["path"], PAGES_OF_A_WORKER), scope, send)


async def _answer(page: Page, scope: dict[str, Any], send: Send) -> None:
    headers = [
        (b"content-type", page.content_type.encode()),
        (b"content-length", str(len(page.body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})


async def find_page(method: str, path: str, pages: Mapping[str, Asked] | None = None) -> Page:
    """The page at a path, or an error page."""
    pages = PAGES if pages is None else pages
    if path not in pages:
        return Page(404, "text/plain", b"not found\n")
    if method not in ("GET", "HEAD"):
        return Page(405, "text/plain", b"GET or HEAD\n")
    return await pages[path]()


async def livez() -> Page:
    """A worker's event loop answers. It checks nothing else, so a store outage never gets replicas killed."""
    return Page(200, "text/plain", b"alive\n")


async def readyz() -> Page:
    """Should this replica get requests?

    With AUTHSVC_WHEN_REDIS_IS_DOWN=allow a store outage is reported but the replica stays ready: a balancer that took
    all replicas out would undo what the operator asked for. Warnings never make a replica unready.
    """
    draining = ["the replica is stopping"] if replica.is_draining() else []
    store = await examine()
    ready = not draining and (not store.faults or settings.WHEN_REDIS_IS_DOWN == "allow")
    told = {"ready": ready, "reasons": [*draining, *store.faults, *store.warnings]}
    return Page(200 if ready else 503, "application/json", json.dumps(told).encode() + b"\n")


async def metrics() -> Page:
    """The replica's numbers in Prometheus's text format, with the current condition of the store and the database."""
    _numbers.store, _numbers.looked_up = await asyncio.gather(examine(), look_up())
    # In a thread: writing hundreds of series takes milliseconds, for which no decision should wait.
    return Page(200, CONTENT_TYPE_LATEST, await asyncio.to_thread(generate_latest, _registry))


PAGES: dict[str, Asked] = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}
PAGES_OF_A_WORKER: dict[str, Asked] = {"/livez": livez, "/metrics": metrics}


LookUp = Callable[[], list[Metric]]
_look_ups: dict[str, LookUp] = {}
_looking: dict[str, asyncio.Task[list[Metric]]] = {}


def also(name: str, look_up: LookUp) -> None:
    """Have /metrics look this up too, in a thread. Rooms above know what this one cannot, such as the outbox."""
    _look_ups[name] = look_up


async def look_up() -> list[Metric]:
    """What was found within STORE_SECONDS; the rest is missing from this answer. No look-up runs twice at a time."""
    for name, look in _look_ups.items():
        if name not in _looking or _looking[name].done():
            _looking[name] = asyncio.create_task(asyncio.to_thread(look))
    tasks = list(_looking.values())
    done, _ = await asyncio.wait(tasks, timeout=STORE_SECONDS) if tasks else ((), ())
    for task in done:
        if (error := task.exception()) is not None:
            log.error("a part of /metrics could not be looked up: %s", type(error).__name__, exc_info=error)
    return [metric for task in done if task.exception() is None for metric in task.result()]


_examining: dict[asyncio.AbstractEventLoop, asyncio.Task[Examination]] = {}


async def examine() -> Examination:
    """Examine the store, for at most STORE_SECONDS. Concurrent callers share one examination, so nothing piles up
    behind a store that hangs."""
    loop = asyncio.get_running_loop()
    asking = _examining.get(loop)
    if asking is None:
        asking = _examining[loop] = loop.create_task(_examine())
        asking.add_done_callback(lambda _: _examining.pop(loop, None))
    done, _ = await asyncio.wait([asking], timeout=STORE_SECONDS)
    found = asking.result() if done else Examination(("the store does not answer (TimeoutError)",))
    _tell(found)
    return found


async def _examine() -> Examination:
    """Through the gate's own link if this process has a gate, else through redis-py in a thread."""
    link = open_link() if "gate" in settings.SERVES else None
    return await (by_link(link) if link is not None else asyncio.to_thread(by_client))


_told: set[str] = set()


def _tell(found: Examination) -> None:
    """Log each fault once when it appears, and once when all are over: an orchestrator asks every other second."""
    said = {re.sub(r"\d+", "N", text): text for text in (*found.faults, *found.warnings)}  # a changed number is no news
    for kind in said.keys() - _told:
        log.warning("%s", said[kind])
    if _told and not said:
        log.warning("the store has recovered")
    _told.clear()
    _told.update(said)


class Numbers(Collector):
    """Reads the replica's shared numbers when Prometheus scrapes, so there is nothing to keep in sync."""

    store = Examination()
    looked_up: Iterable[Metric] = ()

    def collect(self) -> Iterable[Metric]:
        """Yield each metric once."""
        totals = replica.totals()
        for counted in measures.COUNTED:
            yield counted.collect(totals)
        yield CounterMetricFamily("authsvc_worker_starts", "Workers started.", replica.worker_starts())
        yield GaugeMetricFamily("authsvc_workers_serving", "Workers accepting connections.", replica.workers_serving())
        yield InfoMetricFamily("authsvc_build", "The version that runs.", {"version": settings.VERSION})
        yield GaugeMetricFamily("authsvc_draining", "1 while the replica is stopping.", int(replica.is_draining()))
        yield from self._of_the_store()
        yield from self.looked_up

    def _of_the_store(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("authsvc_redis_up", "1 while Redis can be counted on.", int(not self.store.faults))
        master = fullest(self.store.conditions)
        if master is not None and master.used is not None and master.most is not None:
            used, most = "authsvc_redis_memory_used_bytes", "authsvc_redis_memory_max_bytes"
            yield GaugeMetricFamily(used, "Memory used by the fullest Redis master.", master.used)
            yield GaugeMetricFamily(most, "Its maxmemory.", master.most)


_registry, _numbers = CollectorRegistry(), Numbers()
_registry.register(_numbers)
