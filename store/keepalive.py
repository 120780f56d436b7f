"""Keep quiet connections alive through a NAT or IPVS that drops idle ones, and notice the dropped ones."""

from __future__ import annotations

import socket

PING_SECONDS = 20  # of silence; then a pipe sends a PING, and redis-py does before its next command
_OPTIONS = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes; not on every platform

OPTIONS = {getattr(socket, name): value for name, value in _OPTIONS.items() if hasattr(socket, name)}


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel probe it, so that a reader learns of a dead peer within half a minute."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
