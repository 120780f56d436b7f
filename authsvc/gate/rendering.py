"""The parts of an allowed answer that stay the same for an hour, as bytes: all that is left to fill in are numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from quotas.buckets import Charge
from quotas.limits import SECOND, SMOOTHED, calendar_window

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """Of one key, model and hour; a month's length changes at most as often."""

    hour: int
    meters: bytes  # the format of RateLimit, with two numbers for each limit that is shown
    policy: bytes
    head: bytes  # the format of the whole head, without its last empty line: the request's id, then the meters


def auth_headers(charge: Charge, plan: str) -> Headers:
    return [
        (b"content-length", b"0"),
        (b"x-auth-account", charge.key_id[:8].encode()),
        (b"x-auth-key", charge.key_id.encode()),
        (b"x-auth-plan", plan.encode()),
        (b"x-auth-model", charge.model.encode()),
    ]


def render(charge: Charge, plan: str, hour: int) -> Rendered:
    meters, policy = _of_limits(tuple((limit.name, limit.amount, limit.window) for limit in charge.shown), hour)
    lines = [b"%b: %b\r\n" % header for header in auth_headers(charge, plan)]
    limits = b"ratelimit: %b\r\nratelimit-policy: %b\r\n" % (meters, policy) if meters else b""
    head = b"".join((b"HTTP/1.1 200 OK\r\n", *lines, b"x-auth-request-id: %b\r\n", limits))
    return Rendered(hour, meters, policy, head)


@lru_cache(4096)
def _of_limits(limits: tuple[tuple[str, int, str], ...], hour: int) -> tuple[bytes, bytes]:
    """The format of RateLimit, and RateLimit-Policy. All keys of a plan share them."""
    meters = b", ".join(b'"%b";r=%%d;t=%%d' % name.encode() for name, _, _ in limits)
    return meters, b", ".join(_policy(*limit, hour) for limit in limits)


def _policy(name: str, amount: int, window: str, hour: int) -> bytes:
    if window in SMOOTHED:
        seconds = SMOOTHED[window] // SECOND
    else:
        within = calendar_window(window, hour)
        seconds = within.end - within.start
    return b'"%b";q=%d;w=%d' % (name.encode(), amount, seconds)
