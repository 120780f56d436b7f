"""Rows as CSV (RFC 4180): streamed, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

ROWS_AT_ONCE = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four: Excel reads them, too


class Csv(BaseRenderer):
    """What `Accept: text/csv` and `?format=csv` choose. Rows are streamed by the view; problems are JSON as ever."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return bytes(JSONRenderer().render(data))


def streamed(
    request: Request, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> StreamingHttpResponse:
    """All rows as a file of this name, a piece at a time."""
    pieces = _pieces(columns, iter(rows))
    is_asgi = isinstance(request._request, ASGIRequest)
    response = StreamingHttpResponse(_one_by_one(pieces) if is_asgi else pieces, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _one_by_one(pieces: Iterator[str]) -> AsyncIterator[str]:
    """An iterator that blocks, for a server that must not: Django would read it whole before it sends anything."""
    take = sync_to_async(lambda: next(pieces, None))
    while (piece := await take()) is not None:
        yield piece


def _pieces(columns: Sequence[str], rows: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    lines = _Lines()
    writer = csv.DictWriter(lines, columns)
    writer.writeheader()
    yield lines.taken()
    while some := list(islice(rows, ROWS_AT_ONCE)):
        for row in some:
            writer.writerow({name: as_cell(value) for name, value in row.items()})
        yield lines.taken()


class _Lines:
    """What a csv.writer writes to, until it is sent."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, line: str) -> int:
        self._lines.append(line)
        return len(line)

    def taken(self) -> str:
        text = "".join(self._lines)
        self._lines.clear()
        return text


def as_cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
