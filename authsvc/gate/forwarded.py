"""What ForwardAuth sends: which headers are read, and the patterns that a clean request matches."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import NamedTuple

from runtime.networks import read_address

PATH = "/auth/"
METHODS = {m.encode(): m for m in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
LONGEST_URI = 8192

# The only headers that the gate reads: Traefik's `authRequestHeaders` must let them through.
TRACEPARENT = b"traceparent"
WANTED = frozenset(
    (b"x-forwarded-uri", b"x-forwarded-method", b"x-forwarded-for", b"authorization", b"x-api-key", TRACEPARENT)
)
# With AUTHSVC_WEBSOCKET_KEYS this one too: a browser's websocket can set no other.
PROTOCOLS = b"sec-websocket-protocol"
WANTED_OF_BROWSERS = WANTED | {PROTOCOLS}
_CREDENTIALS = frozenset((b"authorization", b"x-api-key", PROTOCOLS))

# What Traefik can emit in a clean path: RFC 3986 pchar without ";", and the brackets that Go leaves alone. No escape
# of a control, # % . / ; ? or \ in either case. No empty segment, no "." and no "..".
_CHARACTER = rb"[A-Za-z0-9\-._~!$&'()*+,=:@\[\]]"
_ESCAPE = rb"%(?!0|1|7[Ff]|2[35EeFf]|3[BbFf]|5[Cc])[0-9A-Fa-f]{2}"
# "++" never gives back what it has matched: nothing that follows could use it, and so no string takes long to refuse.
_SEGMENT = rb"/(?!\.\.?(?:[/?]|\Z))(?:" + _CHARACTER + rb"++|" + _ESCAPE + rb")++"
CLEAN_URI = re.compile(rb"((?:" + _SEGMENT + rb")++/?)(?:\?[\x21-\x7e]*+)?")
_PIN = re.compile(rb"model=([A-Za-z0-9][A-Za-z0-9._-]{0,62})")
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

REQUEST_ID_LENGTH = 32  # like a trace id's
_process = token_hex(10).encode()
_serial = count()


class GateRequest(NamedTuple):
    """What Traefik's ForwardAuth sent to the gate: its own path and query, and the headers that the gate reads."""

    path: str
    query: bytes
    headers: dict[bytes, bytes]  # names in lower case
    repeats: bool  # a header that must come once came twice


class ForwardedRequest(NamedTuple):
    """What a client asks a model for. `pin` is the model that the router is for, "" where none is pinned."""

    method: str
    path: str
    client: str
    pin: str


def read_headers(
    path: str, query: bytes, headers: list[tuple[bytes, bytes]], wanted: frozenset[bytes] = WANTED
) -> GateRequest:
    """Names must be in lower case; those that are not wanted are left out."""
    found: dict[bytes, bytes] = {}
    repeats = False
    for name, value in headers:
        if name in wanted:
            if name not in found:
                found[name] = value
            elif name in _CREDENTIALS:
                found[name] += b"," + value  # as a server that folds headers does; a key has no comma
            else:
                repeats = True
    return GateRequest(path, query, found, repeats)


def request_id(found: dict[bytes, bytes]) -> bytes:
    """The trace id of a valid `traceparent` (W3C Trace Context, 3.2), or a new one."""
    trace = found.get(TRACEPARENT)
    if trace is not None and (valid := _TRACE.fullmatch(trace)) is not None:
        return valid[1]
    return b"%b%012x" % (_process, next(_serial))


def has_clean_path(uri: bytes) -> bool:
    path, _, _ = uri.partition(b"?")
    return CLEAN_URI.fullmatch(path) is not None


@lru_cache(4096)
def first_address(source: bytes) -> str | None:
    """The client in X-Forwarded-For, which ForwardAuth wrote first; an internal entry point adds its own after it.

    Proxies join addresses with a comma and a space. Without the space, a server folded two headers into one.
    """
    if len(source) > 256:
        return None
    try:
        client, *_ = [str(read_address(address)) for address in source.decode("latin-1").split(", ")]
    except ValueError:
        return None
    return client


@lru_cache(4096)
def pinned_model(query: bytes) -> str | None:
    """The query of ForwardAuth's address: "" where it has none, None where it is not exactly one `model=NAME`.

    The operator wrote it. What is nearly a pin (`?MODEL=`, `?a=b&model=`) was meant as one, so it never counts as none.
    """
    if not query:
        return ""
    valid = _PIN.fullmatch(query)
    return valid[1].decode() if valid is not None else None
