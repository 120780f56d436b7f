"""The request's body → the text to analyse. Bad bodies are refused before they cost anything."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from fastapi import Request

from .problems import Problem

LONGEST_TEXT = 100_000  # characters
LARGEST_BODY = 12 * LONGEST_TEXT + 1024  # bytes: JSON may write one character as \ud83d\ude00, which are twelve

READ_IN_VAIN = 10 * LARGEST_BODY  # bytes; a larger body is refused at once
SECONDS_IN_VAIN = 2

SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["text"],
                    "properties": {"text": {"type": "string", "maxLength": LONGEST_TEXT}},
                }
            }
        },
    }
}


async def text_of(request: Request) -> str:
    """The `text` field of a JSON body."""
    _require_json(request)
    return _text(_parsed(await _read(request)))


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "Send Content-Type: application/json.", {"Accept-Post": "application/json"})


async def _read(request: Request) -> bytes:
    """The body, if it stays within the limit, whatever Content-Length says."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > LARGEST_BODY:
        if int(announced) <= READ_IN_VAIN:
            await _read_in_vain(request)
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise _too_large()
    return bytes(body)


async def _read_in_vain(request: Request) -> None:
    """A client that is answered while still sending may never read the answer; a proxy would then return 502."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS_IN_VAIN):
            async for _ in request.stream():
                pass


def _too_large() -> Problem:
    # The rest of the body is still arriving, so the connection cannot be reused.
    return Problem(413, f"The body is larger than {LARGEST_BODY} bytes.", {"Connection": "close"})


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is not UTF-8 JSON: {type(error).__name__}.") from error


def _text(parsed: Any) -> str:
    if not isinstance(parsed, dict) or "text" not in parsed:
        raise Problem(422, 'The field "text" is missing: send {"text": "…"}.')
    text = parsed["text"]
    if not isinstance(text, str):
        raise Problem(422, 'The field "text" is not a string.')
    if len(text) > LONGEST_TEXT:
        raise Problem(413, f'The field "text" is longer than {LONGEST_TEXT} characters.')
    if not _is_unicode(text):
        raise Problem(422, 'The field "text" contains an unpaired surrogate.')
    return text


def _is_unicode(text: str) -> bool:
    """JSON can encode a lone surrogate, which no model can read and no answer can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
