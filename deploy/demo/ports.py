"""Ports on 127.0.0.1: the two that people know, and the inner ones that nobody needs to know."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from .obstacle import Obstacle

HOST = "127.0.0.1"
# Below the range from which Linux takes the near end of outgoing connections, so that none of these is taken meanwhile.
INNER = range(20_000, 32_000)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int) -> None:
    if not is_free(port):
        raise Obstacle(
            f"Port {port} of {HOST} is in use: stop what listens there, or choose another pair with "
            f"`DEMO_PORT=9080 make demo`."
        )


def free_ports(count: int, *, except_for: Collection[int] = ()) -> list[int]:
    """Different ones that nobody listens on now."""
    candidates = random.sample(INNER, 50 + count)
    return [port for port in candidates if port not in except_for and is_free(port)][:count]


def answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=0.2).close()
    except OSError:
        return False
    return True
