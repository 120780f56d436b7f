"""The parts of an allowed answer that stay the same for an hour, as bytes: all that is left to fill in are numbers."""

from __future__ import annotations

from dataclasses import dataclass

from quotas.buckets import Charge
from quotas.limits import SECOND, SMOOTHED, Limit, calendar_window

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
    meters = b", ".join(b'"%b";r=%%d;t=%%d' % limit.name.encode() for limit in charge.shown)
    policy = b", ".join(_policy(limit, hour) for limit in charge.shown)
    constant = b"".join(b"%b: %b\r\n" % header for header in auth_headers(charge, plan))
    limits = b"ratelimit: %b\r\nratelimit-policy: %b\r\n" % (meters, policy) if charge.shown else b""
    head = b"HTTP/1.1 200 OK\r\n" + constant + b"x-auth-request-id: %b\r\n" + limits
    return Rendered(hour, meters, policy, head)


def _policy(limit: Limit, hour: int) -> bytes:
    if limit.is_smoothed:
        seconds = SMOOTHED[limit.window] // SECOND
    else:
        window = calendar_window(limit.window, hour)
        seconds = window.end - window.start
    return b'"%b";q=%d;w=%d' % (limit.name.encode(), limit.amount, seconds)
