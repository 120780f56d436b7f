"""Limits on request bodies before Django: on size, time and number. A refused body is not read.

Django reads a whole body before it checks who sent it, so these limits come first. They apply to the console only: the
gate never reads a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import IO, Any, ClassVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import LimitedStream, WSGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse

from api.base.resource import MOST_BODY_BYTES
from api.imports import ADMITTED
from api.uploads import is_upload, refusal_of
from authsvc.holding import Held, Outgoing
from authsvc.refusals import refusal
from console.proxies import BehindProxies
from runtime.memory_files import MOST_BYTES as MOST_UPLOAD_BYTES
from runtime.memory_files import memory_file

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

FIRST_SECONDS = 20.0  # for every body, plus one second per LEAST_RATE bytes received
LEAST_RATE = 50_000
MOST_UPLOADS = 2  # at a time, per process
MOST_UNFINISHED_BYTES = 32 * 1024 * 1024  # of all other bodies together, per process

# How long we keep reading from a refused client. Many clients send the whole body before they look for an answer;
# closing on them would reset the connection and could lose the answer.
LINGER_SECONDS = 2.0
LINGER_BYTES = 32 * 1024 * 1024


class Refusal(Exception):
    """A body is refused: the code of the problem, and what to tell the client."""

    def __init__(self, word: str, detail: str, *, retry: bool = False) -> None:
        super().__init__(detail)
        self.word, self.detail, self.retry = word, detail, retry

    def response(self, path: str) -> HttpResponse:
        return refusal(path, self.word, self.detail, retry=self.retry)


def too_large(most: int) -> Refusal:
    size = f"{most // 1024 // 1024} MB" if most >= 1024 * 1024 else f"{most // 1024} KB"
    return Refusal("too_large", f"The body is longer than {size}.")


class Body:
    """A body being received. Called, it is the ASGI `receive` on which Django waits for a disconnect."""

    _unfinished: ClassVar[dict[Body, None]] = {}  # oldest first
    _held: ClassVar[int] = 0

    def __init__(self, receive: Receive, most: int, file: IO[bytes], *, in_heap: bool) -> None:
        self._receive, self._most, self.file, self._in_heap = receive, most, file, in_heap
        self._size, self._is_given_up = 0, False

    async def __call__(self) -> Mapping[str, Any]:
        return await self._receive()

    async def read(self) -> None:
        """Read all of it. Raises Refusal, or RequestAborted if the client has disconnected."""
        Body._unfinished[self] = None
        try:
            async with asyncio.timeout(FIRST_SECONDS) as self._patience:
                await self._read(asyncio.get_running_loop().time() + FIRST_SECONDS)
        except TimeoutError as error:
            raise Refusal("too_slow", "The body did not arrive in time.") from error
        finally:
            del Body._unfinished[self]
            if self._in_heap:
                Body._held -= self._size
        self.file.seek(0)

    async def _read(self, deadline: float) -> None:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            part, more = message.get("body", b""), message.get("more_body", False)
            self._size += len(part)
            if self._in_heap:
                Body._held += len(part)
                _give_up_the_oldest()
            if self._is_given_up:
                raise TimeoutError
            if self._size > self._most:
                raise too_large(self._most)
            self.file.write(part)
            self._patience.reschedule(deadline + self._size / LEAST_RATE)

    def give_up(self) -> None:
        self._is_given_up = True
        self._patience.reschedule(asyncio.get_running_loop().time())


def _give_up_the_oldest() -> None:
    """Honest bodies arrive within moments, so when there are too many, drop the one that has been arriving longest."""
    if Body._held > MOST_UNFINISHED_BYTES:
        oldest = next((body for body in Body._unfinished if body._in_heap and not body._is_given_up), None)
        if oldest is not None:
            oldest.give_up()


class Console(ASGIHandler):
    """Django behind these limits."""

    _uploads = 0

    def __init__(self) -> None:
        super().__init__()
        self._held = Held()

    def load_middleware(self, is_async: bool = False) -> None:
        """All of our views and middlewares are synchronous. Django would call each request's view from an event loop
        of its own in the request's thread, which takes a third of what a small answer costs.
        """
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> Any:
        return await sync_to_async(self.get_response)(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Outgoing(send)
        try:
            await self._answer(scope, receive, answer)
        except Refusal as refused:
            await _refuse(refused.response(scope["path"]), receive, send)
        except RequestAborted:
            pass
        if answer.kept:  # by now the request, its body and its thread are gone
            await self._held.hold(scope)
            await answer.let_go()

    async def _answer(self, scope: Scope, receive: Receive, answer: Outgoing) -> None:
        if self._held.is_full_for(scope):
            await self._held.hold(scope)
            raise Refusal("too_many", "Too many attempts from your network. Try again in a moment.", retry=True)
        if is_upload(scope["method"], scope["path"]) and not _is_short(scope):
            await self._take_upload(scope, receive, answer)
        else:
            await self._take(scope, receive, answer, MOST_BODY_BYTES, BytesIO(), in_heap=True)

    async def _take_upload(self, scope: Scope, receive: Receive, answer: Outgoing) -> None:
        """Check who sends it before reading any of it."""
        refused = await sync_to_async(_refusal_before, thread_sensitive=False)(scope)
        if refused is not None:
            if refused.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                await self._held.hold(scope)
            await _refuse(refused, receive, answer.send)
            return
        if self._uploads >= MOST_UPLOADS:
            raise Refusal("unavailable", "Other uploads are in progress. Try again in a moment.", retry=True)
        self._uploads += 1
        try:
            with memory_file() as file:
                admitted = {**scope, ADMITTED: True}
                await self._take(admitted, receive, answer, MOST_UPLOAD_BYTES, file, in_heap=False)
        finally:
            self._uploads -= 1

    async def _take(
        self, scope: Scope, receive: Receive, send: Send, most: int, file: IO[bytes], *, in_heap: bool
    ) -> None:
        if (_length(scope) or 0) > most:
            raise too_large(most)
        body = Body(receive, most, file, in_heap=in_heap)
        await body.read()
        await super().__call__(scope, body, send)

    async def read_body(self, receive: Any) -> Any:
        """Django's hook for reading the body, which has been read already."""
        return receive.file


def _refusal_before(scope: Scope) -> HttpResponse | None:
    """The refusal of an upload before its body is read, or None; decided with the client's address behind proxies."""
    headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-type", b"content-length")]
    found: list[HttpResponse | None] = []

    def ask(request: HttpRequest) -> HttpResponse:
        found.append(refusal_of(request))
        return HttpResponse()

    try:
        BehindProxies(ask)(ASGIRequest({**scope, "headers": headers}, BytesIO()))
    finally:
        connections.close_all()  # no request cycle in this thread closes them
    return found[0]


def _length(scope: Scope) -> int | None:
    """Content-Length; None for a chunked body. The parser has already rejected anything but a number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)


def _is_short(scope: Scope) -> bool:
    length = _length(scope)
    has_chunks = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    return not has_chunks and (length or 0) <= MOST_BODY_BYTES


async def _refuse(response: HttpResponse, receive: Receive, send: Send) -> None:
    """Answer at once, then read and discard for a moment."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
    headers += [(b"connection", b"close"), (b"content-length", b"%d" % len(response.content))]
    unique = dict(headers)
    await send({"type": "http.response.start", "status": response.status_code, "headers": list(unique.items())})
    await send({"type": "http.response.body", "body": response.content, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await _listen(receive)
    await send({"type": "http.response.body", "body": b""})


async def _listen(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))


class BoundedOverWsgi:
    """The same size limits for authsvc.wsgi and runserver, where a view can check the caller before the body is read.

    gunicorn's own workers limit the time.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if isinstance(request, WSGIRequest):
            most = MOST_UPLOAD_BYTES if is_upload(request.method or "", request.path_info) else MOST_BODY_BYTES
            try:
                _bound(request, most)
            except Refusal as refused:
                return refused.response(request.path_info)
        return self._get_response(request)


def _bound(request: WSGIRequest, most: int) -> None:
    if int(request.META.get("CONTENT_LENGTH") or 0) > most:
        raise too_large(most)
    if "HTTP_TRANSFER_ENCODING" not in request.META or not request.environ.get("wsgi.input_terminated"):
        return
    source, bounded = request.environ["wsgi.input"], cast(Any, request)  # the stubs allow no other stream
    if most > MOST_BODY_BYTES:  # the view reads it once it knows the caller
        bounded._stream = LimitedStream(source, most + 1)
        request.META["CONTENT_LENGTH"] = str(most)
        return
    content = source.read(most + 1)
    if len(content) > most:
        raise too_large(most)
    bounded._stream = BytesIO(content)
    request.META["CONTENT_LENGTH"] = str(len(content))
