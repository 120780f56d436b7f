"""The gate inside Django: the view at /auth/, and the middleware that lets nothing else answer Traefik."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from threading import Lock, Thread
from typing import Any, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from authsvc.gate.answer import Answer
from authsvc.gate.app import gate
from authsvc.gate.forwarded import PATH

Result = TypeVar("Result")
_SECONDS = 1.0  # far above the decision's own time limit, far below Traefik's


class GateFirst:
    """The first middleware: Traefik's questions are decided before anything else can answer them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_question = request.path_info == PATH or "HTTP_X_FORWARDED_URI" in request.META
        if not is_question:
            if "console" not in settings.SERVES:
                return JsonResponse(
                    {"title": "Not found", "status": 404}, status=404, content_type="application/problem+json"
                )
            return self._get_response(request)
        if "gate" not in settings.SERVES:
            return JsonResponse(
                {"title": "This process is no gate", "status": 403}, status=403, content_type="application/problem+json"
            )
        return auth(request)


def auth(request: HttpRequest) -> HttpResponse:
    """Decide as the bare ASGI gate does."""
    query = str(request.META.get("QUERY_STRING", "")).encode("latin-1")
    try:
        answer = _on_the_loop(_ask(request.path_info, query, _headers(request)))
    except TimeoutError:
        return HttpResponse(status=503, headers={"Retry-After": "1"})
    response = HttpResponse(answer.body, status=answer.status)
    del response.headers["Content-Type"]
    for name, value in answer.headers:
        response.headers[name.decode().title()] = value.decode("latin-1")
    return response


def _headers(request: HttpRequest) -> list[tuple[bytes, bytes]]:
    """The headers as they came, as far as WSGI shows them.

    WSGI servers join repeated headers with a comma, so a path with a comma that could be such a seam counts as having
    come twice. Refusing it is always safe; two paths in one are not.
    """
    headers = []
    for name, value in request.META.items():
        if name.startswith("HTTP_"):
            raw = str(value).encode("latin-1", "replace")
            lower = name[5:].replace("_", "-").lower().encode()
            headers.append((lower, raw))
            if lower == b"x-forwarded-uri" and b",/" in raw:
                headers.append((lower, raw))
    return headers


async def _ask(path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
    return await gate().answer(path, query, headers)


# Django's threads share one event loop, and with it one connection to Redis.

_lock = Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _on_the_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run_coroutine_threadsafe(coroutine, _running_loop()).result(_SECONDS)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            Thread(target=_loop.run_forever, name="gate", daemon=True).start()
        return _loop
