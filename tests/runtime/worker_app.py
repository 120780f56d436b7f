"""What tests/runtime/test_worker_class.py runs under gunicorn: a tiny application, and workers with shorter timeouts."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import ClassVar

from uvicorn_worker import UvicornWorker

from runtime.measures import DECISIONS
from runtime.protocol import OFFER, DirectAnswers, GateProtocol
from runtime.worker_class import GateWorker


async def app(scope, receive, send):
    """Count and answer, after `?milliseconds` if asked; /block stops the event loop for as long."""
    if scope["type"] == "lifespan":
        scope["state"][OFFER] = DirectAnswers(b"/direct", answer_directly)
        await lifespan(receive, send)
        return
    DECISIONS.count("allowed", "sm")
    seconds = int(scope["query_string"] or 0) / 1000
    if scope["path"] == "/block":
        time.sleep(seconds)  # noqa: ASYNC251 - the whole loop stands still
    await asyncio.sleep(seconds)
    body = f"{scope['path']} {os.getpid()}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def answer_directly(query, headers, then):
    """Likewise without ASGI, at /direct."""
    DECISIONS.count("allowed", "sm")
    body = f"/direct {os.getpid()}".encode()
    answered = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(body), body
    if query:
        asyncio.get_running_loop().call_later(int(query) / 1000, then, *answered)
    else:
        then(*answered)


async def lifespan(receive, send):
    while (await receive())["type"] == "lifespan.startup":
        await asyncio.sleep(float(os.environ.get("BOOT_SECONDS", "0")))
        if Path(os.environ.get("FAULTY", "/none")).exists():  # noqa: ASYNC240 - once, at the start
            await send({"type": "lifespan.startup.failed"})
            return
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


class HastyProtocol(GateProtocol):
    HEAD_SECONDS = 0.2
    UNUSED_SECONDS = 0.4
    LINGER_SECONDS = 0.3


class HastyWorker(GateWorker):
    """Limits of tenths of a second, and a tick short enough for them."""

    TICK_SECONDS = 0.05
    PAUSE_SECONDS = 0.1
    CONFIG_KWARGS: ClassVar = {**GateWorker.CONFIG_KWARGS, "http": HastyProtocol}


class StockWorker(UvicornWorker):  # type: ignore[misc]
    """For comparison with GateWorker: the same server, stopped by uvicorn-worker itself."""

    seat = 0
    CONFIG_KWARGS: ClassVar = {"loop": "uvloop", "http": "httptools", "ws": "none"}
