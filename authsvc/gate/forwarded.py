"""Headers from Traefik → `ForwardedRequest`. What is unclean is denied, never repaired."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import NamedTuple

from authsvc.gate.verdict import Verdict
from runtime.networks import read_address

METHODS = {m.encode(): m for m in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
LONGEST_URI = 8192

# The headers that the gate reads, and no others: what Traefik's `authRequestHeaders` must let through.
WANTED = frozenset(
    (b"x-forwarded-uri", b"x-forwarded-method", b"x-forwarded-for", b"authorization", b"x-api-key", b"traceparent")
)
# With AUTHSVC_WEBSOCKET_KEYS also this one: a browser's websocket can set no other.
PROTOCOLS = b"sec-websocket-protocol"
WANTED_OF_BROWSERS = WANTED | {PROTOCOLS}
_CREDENTIALS = frozenset((b"authorization", b"x-api-key", PROTOCOLS))

# What Traefik can emit in a clean path: RFC 3986 pchar without ";", and the brackets that Go leaves alone. No escape
# of a control, # % . / ; ? or \ in either case. No empty segment, no "." and no "..".
_CHARACTER = rb"[A-Za-z0-9\-._~!$&'()*+,=:@\[\]]"
_ESCAPE = rb"%(?!0|1|7[Ff]|2[35EeFf]|3[BbFf]|5[Cc])[0-9A-Fa-f]{2}"
_SEGMENT = rb"/(?!\.\.?(?:[/?]|\Z))(?:" + _CHARACTER + rb"|" + _ESCAPE + rb")+"
_CLEAN = re.compile(rb"((?:" + _SEGMENT + rb")+/?)(?:\?[\x21-\x7e]*)?")
_PIN = re.compile(rb"model=([A-Za-z0-9][A-Za-z0-9._-]{0,62})")
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

_process = token_hex(10)
_serial = count()


class ForwardedRequest(NamedTuple):
    """What a client asks a model for. `pin` is the model that the router is for, "" where none is pinned."""

    method: str
    path: str
    client: str
    pin: str


def read_headers(
    headers: list[tuple[bytes, bytes]], wanted: frozenset[bytes] = WANTED
) -> tuple[dict[bytes, bytes], bool]:
    """The wanted headers, and whether one that must be alone came twice. Names are in lower case."""
    found: dict[bytes, bytes] = {}
    twice = False
    for name, value in headers:
        if name in wanted:
            if name not in found:
                found[name] = value
            elif name in _CREDENTIALS:
                found[name] += b"\n" + value  # no header has a line break: whoever reads it sees where one ends
            else:
                twice = True
    return found, twice


def read_forwarded(found: dict[bytes, bytes], twice: bool, query: bytes) -> ForwardedRequest | Verdict:
    """The forwarded request, or the verdict on what is no clean one."""
    uri = found.get(b"x-forwarded-uri")
    method = found.get(b"x-forwarded-method")
    source = found.get(b"x-forwarded-for")
    if uri is None or method is None or source is None or twice:
        return Verdict.NOT_FORWARDED
    client = _client(source)
    if client is None:
        return Verdict.NOT_FORWARDED
    if len(uri) > LONGEST_URI:  # before the pattern, which takes time for each byte
        return Verdict.URI_TOO_LONG
    clean = _CLEAN.fullmatch(uri)
    if clean is None:
        return _unclean(uri)
    known_method = METHODS.get(method)
    if known_method is None:
        return Verdict.METHOD_NOT_ALLOWED
    pin = _pinned(query)
    if pin is None:
        return Verdict.PIN_MISMATCH
    return ForwardedRequest(known_method, clean[1].decode(), client, pin)


def request_id(found: dict[bytes, bytes]) -> bytes:
    """The trace id of a valid `traceparent` (W3C Trace Context, 3.2), or one that we make."""
    trace = found.get(b"traceparent")
    if trace is not None and (valid := _TRACE.fullmatch(trace)) is not None:
        return valid[1]
    return b"%b%012x" % (_process.encode(), next(_serial))


def _unclean(uri: bytes) -> Verdict:
    """Which part of it the pattern does not take."""
    path, _, _ = uri.partition(b"?")
    return Verdict.UNCLEAN_PATH if _CLEAN.fullmatch(path) is None else Verdict.UNCLEAN_QUERY


@lru_cache(4096)
def _client(source: bytes) -> str | None:
    """The first address of X-Forwarded-For, which ForwardAuth wrote; an internal entry point adds its own after it.

    Proxies join with a comma and a space. Without the space it was a server that folded two headers into one.
    """
    if len(source) > 256:
        return None
    try:
        client, *_ = [str(read_address(address)) for address in source.decode("latin-1").split(", ")]
    except ValueError:
        return None
    return client


@lru_cache(4096)
def _pinned(query: bytes) -> str | None:
    """The query of ForwardAuth's address: "" where it has none, None where it is not exactly one `model=NAME`.

    The operator wrote it. What is nearly a pin (`?MODEL=`, `?a=b&model=`) was meant as one, so it never counts as none.
    """
    if not query:
        return ""
    valid = _PIN.fullmatch(query)
    return valid[1].decode() if valid is not None else None
