"""`?offsets=`: the unit of `start` and `end`. Python counts code points, JavaScript and Java UTF-16 code units."""

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
    "description": "The unit of `start` and `end`: `codepoints`, as in Python; `utf16` code units, as in JavaScript, "
    "Java and C#, where 😀 counts as two; or `utf8` bytes.",
    "schema": {"type": "string", "enum": list(Unit), "default": Unit.CODEPOINTS},
}

Position = Callable[[int], int]


async def unit_of(request: Request) -> Unit:
    asked = request.query_params.getlist("offsets") or [Unit.CODEPOINTS]
    try:
        (unit,) = map(Unit, asked)
    except ValueError:
        raise Problem(400, f'"offsets" must be one of {", ".join(Unit)}, and given only once.') from None
    return unit


def position_in(text: str, unit: Unit) -> Position:
    """A function that converts Python's index into `text` to an offset in `unit`."""
    if unit is Unit.CODEPOINTS or text.isascii() or (unit is Unit.UTF16 and max(text) <= "\uffff"):
        return int
    sizes = map(_in_utf16 if unit is Unit.UTF16 else _in_utf8, text)
    return array("L", accumulate(sizes, initial=0)).__getitem__


def _in_utf16(character: str) -> int:
    return 2 if character > "\uffff" else 1


def _in_utf8(character: str) -> int:
    return len(character.encode())
