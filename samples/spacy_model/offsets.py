"""`?offsets=`: in what `start` and `end` count. Python counts code points, JavaScript and Java UTF-16 code units."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from enum import StrEnum
from itertools import accumulate

from fastapi import Request

from .problems import Problem


class Unit(StrEnum):
    CODEPOINTS = "codepoints"
    UTF16 = "utf16"
    UTF8 = "utf8"


PARAMETER = {
    "name": "offsets",
    "in": "query",
    "description": "What `start` and `end` count: `codepoints`, as Python does; `utf16` code units, as JavaScript, "
    "Java and C# do, where 😀 is two; or `utf8` bytes.",
    "schema": {"type": "string", "enum": list(Unit), "default": Unit.CODEPOINTS},
}

Position = Callable[[int], int]


async def unit_of(request: Request) -> Unit:
    asked = request.query_params.getlist("offsets") or [Unit.CODEPOINTS]
    try:
        (unit,) = map(Unit, asked)
    except ValueError:
        raise Problem(400, f'"offsets" must be one of {", ".join(Unit)}, and given once.') from None
    return unit


def position_in(text: str, unit: Unit) -> Position:
    """A function from Python's index into `text` to the same place counted in `unit`."""
    if unit is Unit.CODEPOINTS or text.isascii() or (unit is Unit.UTF16 and max(text) <= "\uffff"):
        return int
    sizes = map(_in_utf16 if unit is Unit.UTF16 else _in_utf8, text)
    return array("L", accumulate(sizes, initial=0)).__getitem__


def _in_utf16(character: str) -> int:
    return 2 if character > "\uffff" else 1


def _in_utf8(character: str) -> int:
    return len(character.encode())
