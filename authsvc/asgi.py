"""ForwardAuth requests → the gate; everything else → Django."""

from __future__ import annotations

import asyncio
import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "authsvc.settings")

import django

django.setup(set_prefix=False)

from django.conf import settings
from django.core.signals import request_finished
from django.db import connections

from authsvc.checks import stop_if_wrong
from authsvc.gate.app import Gate, Receive, Scope, Send, close_gate, gate, is_for_the_gate, serve
from authsvc.gate.forwarded import PATH
from quotas import deployment
from runtime import health, migrating
from runtime.processes import ServerReports
from runtime.protocol import OFFER, DirectAnswers
from store import clients, names
from store.commands import ScriptCall
from store.link import link

stop_if_wrong()


def _close_connections(**_: object) -> None:
    """Under ASGI each request has its own thread, so a connection kept after it would never be used again.

    Connections are only kept for the gate's own threads (CONN_MAX_AGE).
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


request_finished.connect(_close_connections)
_IS_GATE, _IS_CONSOLE = "gate" in settings.SERVES, "console" in settings.SERVES

if _IS_CONSOLE:  # a gate does not load it
    from accounts.measured import outbox
    from authsvc.bodies import Console

    _django = Console()
    health.also("outbox", outbox)

# A decision makes many objects and no cycle of them. By default the collector would look at the youngest whenever there
# are 700 more of them, and again and again find that the decisions under way need them.
COLLECTOR = 20_000, 20, 20

# The gate of the running server: looking it up by event loop costs a system call, a tenth of a decision.
_gate: Gate | None = None


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One application for both kinds of process; AUTHSVC_SERVES chooses."""
    if scope["type"] == "http":
        if scope["path"] == PATH or is_for_the_gate(scope["path"], scope["headers"]):
            await (serve(_gate or gate(), scope, send) if _IS_GATE else _refuse(send, 403, b"This process is no gate"))
        elif _IS_CONSOLE:
            await _django(scope, receive, send)
        else:
            await _refuse(send, 404, b"Not found")
    elif scope["type"] == "lifespan":
        await _live(scope, receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    """Start even without Redis or a database; close the connection at the end."""
    global _gate
    await receive()
    if _IS_GATE:
        _gate = gate()
        migrating.of_this_code()
        await _gate.know_whose()
        # All that is loaded now stays. Decisions would pay for a collector that looks through Django's heap again and
        # again; it only looks at objects made from here on.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR)
        scope.get("state", {})[OFFER] = DirectAnswers(PATH.encode(), _gate.answer_directly)
    reports = ServerReports(_whose, _by_link if _IS_GATE else _by_client)
    reports.begin()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await reports.end()
    if _gate is not None:
        _gate = None
        await close_gate()
    await send({"type": "lifespan.shutdown.complete"})


async def _whose() -> str | None:
    """A gate learns its deployment's identity by itself, and must not wait for the database."""
    return _gate.lookup.deployment if _gate is not None else await asyncio.to_thread(_known)


def _known() -> str | None:
    try:
        return deployment.known()
    finally:
        _close_connections()  # of this thread; kept, it would fail for ever once the database has been restarted


async def _by_link(report: ScriptCall) -> None:
    await link().ask(names.CATALOGUE_PARTITION, report)


async def _by_client(report: ScriptCall) -> None:
    await asyncio.to_thread(lambda: report.run(clients.sync_client()))


async def _refuse(send: Send, status: int, title: bytes) -> None:
    body = b'{"title":"%b","status":%d}' % (title, status)
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
