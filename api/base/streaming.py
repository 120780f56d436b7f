"""Long answers, sent a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from rest_framework.request import Request


def download(request: Request, name: str, pieces: Iterator[str], content_type: str) -> StreamingHttpResponse:
    """The pieces as a file of this name, each sent as it is made."""
    content = _in_threads(pieces) if isinstance(request._request, ASGIRequest) else pieces
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(content, content_type=content_type, headers=headers)


async def _in_threads(pieces: Iterator[str]) -> AsyncIterator[str]:
    """Make each piece in the thread that may query the database. Django would exhaust a plain iterator before sending
    anything."""
    take = sync_to_async(lambda: next(pieces, None))
    while (piece := await take()) is not None:
        yield piece
