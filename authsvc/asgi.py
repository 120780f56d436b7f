"""ForwardAuth requests → the gate; everything else → Django."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "authsvc.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

from django.conf import settings

from authsvc.gate.app import PATH, Receive, Scope, Send, gate, is_for_the_gate, serve

_IS_GATE, _IS_CONSOLE = "gate" in settings.SERVES, "console" in settings.SERVES


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One application for both kinds of process; AUTHSVC_SERVES says which this is."""
    if scope["type"] == "http":
        if scope["path"] == PATH or is_for_the_gate(scope["path"], scope["headers"]):
            await (serve(scope, send) if _IS_GATE else _refuse(send, 403, b"This process is no gate"))
        elif _IS_CONSOLE:
            await _django(scope, receive, send)
        else:
            await _refuse(send, 404, b"Not found")
    elif scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})


async def _live(receive: Receive, send: Send) -> None:
    """Start without Redis and without a database; close the connection at the end."""
    await receive()
    if _IS_GATE:
        gate().open()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if _IS_GATE:
        await gate().close()
    await send({"type": "lifespan.shutdown.complete"})


async def _refuse(send: Send, status: int, title: bytes) -> None:
    body = b'{"title":"%b","status":%d}' % (title, status)
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
