"""What keeps a quiet connection alive through a NAT or IPVS that forgets it, and notices one that was forgotten."""

from __future__ import annotations

import socket

PING_SECONDS = 20  # of quiet, after which a pipe sends a PING, and redis-py before its next command
_OPTIONS = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes; not on each platform

OPTIONS = {getattr(socket, name): value for name, value in _OPTIONS.items() if hasattr(socket, name)}


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel probe it: half a minute after the peer is gone, whoever waits on it is told."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
