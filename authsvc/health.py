"""The admin listener's pages: is a worker alive, may the replica be asked, and what has it decided.

Each worker serves them (ADMIN_BIND), and each answer is for the whole replica: what workers must know of each other is
in `authsvc.replica`. Never published: Prometheus and the orchestrator ask from the inside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from authsvc import replica
from quotas.store import sync_client, wrong_policies

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

STORE_SECONDS = 0.8  # for asking the store: a kubelet gives its probe one second


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers."""

    status: int
    content_type: str
    body: bytes


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer GET and HEAD on the paths of PAGES."""
    page = await find_page(scope["method"], scope["path"])
    headers = [
        (b"content-type", page.content_type.encode()),
        (b"content-length", str(len(page.body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})


async def find_page(method: str, path: str) -> Page:
    """The page of a path, or why there is none."""
    if path not in PAGES:
        return Page(404, "text/plain", b"not found\n")
    if method not in ("GET", "HEAD"):
        return Page(405, "text/plain", b"GET or HEAD\n")
    return await PAGES[path]()


async def livez() -> Page:
    """A worker's event loop answers: that is all, so that a store that is down never gets replicas killed."""
    return Page(200, "text/plain", b"alive\n")


async def readyz() -> Page:
    """May this replica be asked?

    With AUTHSVC_WHEN_REDIS_IS_DOWN=allow an outage of the store is told but keeps the replica in service: a balancer
    that takes all replicas out would undo just what the operator asked for.
    """
    draining = ["the replica is stopping"] if replica.is_draining() else []
    faults = await store_faults()
    ready = not draining and (not faults or settings.WHEN_REDIS_IS_DOWN == "allow")
    told = {"ready": ready, "reasons": draining + faults}
    return Page(200 if ready else 503, "application/json", json.dumps(told).encode() + b"\n")


async def metrics() -> Page:
    """The replica's numbers in Prometheus's text format."""
    return Page(200, CONTENT_TYPE_LATEST, generate_latest(_registry))


PAGES: dict[str, Callable[[], Awaitable[Page]]] = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}


async def store_faults() -> list[str]:
    """What is wrong with the store, asked by the ordinary client in a thread: never in the gate's own connection."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_ask_store), STORE_SECONDS)
    except (redis.RedisError, OSError) as error:  # TimeoutError is an OSError
        return [f"the store does not answer ({type(error).__name__})"]


def _ask_store() -> list[str]:
    return [f"the store's maxmemory-policy is {policy}, not noeviction" for policy in wrong_policies(sync_client())]


class Numbers(Collector):
    """Reads the replica's shared numbers when Prometheus asks; there is nothing to keep in step."""

    def collect(self) -> Iterable[Metric]:
        """Each number, once."""
        decisions = CounterMetricFamily("authsvc_decisions", "Decisions by verdict.", labels=["verdict"])
        for word, counted in sorted(replica.decisions().items()):
            decisions.add_metric([word], counted)
        yield decisions
        yield CounterMetricFamily("authsvc_worker_starts", "Workers started.", replica.worker_starts())
        yield GaugeMetricFamily("authsvc_workers_serving", "Workers that accept now.", replica.workers_serving())
        yield GaugeMetricFamily("authsvc_draining", "1 while the replica is stopping.", int(replica.is_draining()))


_registry = CollectorRegistry()
_registry.register(Numbers())
