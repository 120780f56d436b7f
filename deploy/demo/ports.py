"""Ports on 127.0.0.1: two public ones, and internal ones that nobody needs to know."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Mapping
from http.client import HTTPConnection, HTTPException

from .obstacle import Obstacle

HOST = "127.0.0.1"
# Below Linux's range for outgoing connections, so that none of these is taken in the meantime.
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
    """Distinct ports that nothing listens on now."""
    candidates = random.sample(INNER, 50 + count)
    return [port for port in candidates if port not in except_for and is_free(port)][:count]


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=0.2).close()
    except OSError:
        return False
    return True


def status_of(port: int, path: str, headers: Mapping[str, str] | None = None) -> int:
    """The status of the answer, or 0 without one."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()
