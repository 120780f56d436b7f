"""Files that are too large to hold: sent a piece at a time, under ASGI too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

LINES_AT_ONCE = 500  # each piece that is sent costs a change of threads


def streamed(request: HttpRequest, name: str, content_type: str, lines: Iterator[str]) -> StreamingHttpResponse:
    """All lines as a file of this name."""
    pieces = _pieces(lines)
    content = _one_by_one(pieces) if isinstance(request, ASGIRequest) else pieces
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(content, content_type=content_type, headers=headers)


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    while some := "".join(islice(lines, LINES_AT_ONCE)):
        yield some


async def _one_by_one(pieces: Iterator[str]) -> AsyncIterator[str]:
    """An iterator that blocks, for a server that must not: Django would read it whole before it sends anything."""
    take = sync_to_async(lambda: next(pieces, None))
    while (piece := await take()) is not None:
        yield piece
