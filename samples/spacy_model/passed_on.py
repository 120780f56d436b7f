"""Passes the gate's headers about a call on to the caller.

Traefik gives the gate's headers to the model only, so a client learns what is left of its limits from here.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PASSED_ON = {
    b"ratelimit": b"RateLimit",
    b"ratelimit-policy": b"RateLimit-Policy",
    b"x-auth-request-id": b"X-Request-Id",
}


class PassedOn:
    """Adds the gate's headers to every answer, refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        added = [(PASSED_ON[name], value) for name, value in scope["headers"] if name in PASSED_ON]

        async def send_with_them(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await self.app(scope, receive, send_with_them)
