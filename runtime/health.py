"""The admin listener's pages: whether a worker is alive, whether the replica is ready, and its metrics.

Every worker serves them (ADMIN_BIND), and each answer covers the whole replica: `runtime.replica` holds what workers
share. They are never published; Prometheus and the orchestrator ask from inside the network.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from runtime import replica
from store.condition import fullest
from store.examination import Examination, by_client, by_link
from store.link import open_link

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

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
    page = await find_page(scope["method"], scope["path"])
    headers = [
        (b"content-type", page.content_type.encode()),
        (b"content-length", str(len(page.body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})


async def find_page(method: str, path: str) -> Page:
    """The page at a path, or an error page."""
    if path not in PAGES:
        return Page(404, "text/plain", b"not found\n")
    if method not in ("GET", "HEAD"):
        return Page(405, "text/plain", b"GET or HEAD\n")
    return await PAGES[path]()


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
    """The replica's numbers in Prometheus's text format, with the store's current condition."""
    _numbers.store = await examine()
    return Page(200, CONTENT_TYPE_LATEST, generate_latest(_registry))


PAGES: dict[str, Callable[[], Awaitable[Page]]] = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}


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

    def collect(self) -> Iterable[Metric]:
        """Yield each metric once."""
        decisions = CounterMetricFamily("authsvc_decisions", "Decisions by verdict.", labels=["verdict"])
        for word, counted in sorted(replica.decisions().items()):
            decisions.add_metric([word], counted)
        yield decisions
        yield CounterMetricFamily("authsvc_worker_starts", "Workers started.", replica.worker_starts())
        yield GaugeMetricFamily("authsvc_workers_serving", "Workers accepting connections.", replica.workers_serving())
        yield GaugeMetricFamily("authsvc_draining", "1 while the replica is stopping.", int(replica.is_draining()))
        yield from self._of_the_store()

    def _of_the_store(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("authsvc_redis_up", "1 while Redis can be counted on.", int(not self.store.faults))
        master = fullest(self.store.conditions)
        if master is not None and master.used is not None and master.most is not None:
            used, most = "authsvc_redis_memory_used_bytes", "authsvc_redis_memory_max_bytes"
            yield GaugeMetricFamily(used, "Memory used by the fullest Redis master.", master.used)
            yield GaugeMetricFamily(most, "Its maxmemory.", master.most)


_registry, _numbers = CollectorRegistry(), Numbers()
_registry.register(_numbers)
