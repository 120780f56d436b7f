"""Rows as CSV (RFC 4180): streamed, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from api.base.streaming import download

ROWS_AT_ONCE = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # Excel reads the full-width forms too


class Csv(BaseRenderer):
    """Chosen by `Accept: text/csv` and `?format=csv`. Views stream the rows themselves; errors are still JSON."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return bytes(JSONRenderer().render(data))


def streamed(
    request: Request, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> StreamingHttpResponse:
    """All rows as a file of this name."""
    return download(request, name, _pieces(columns, iter(rows)), "text/csv; charset=utf-8")


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
    """Collects what a csv.writer writes until it is sent."""

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
    """A cell that no spreadsheet evaluates: text that looks like a formula gets a leading apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
