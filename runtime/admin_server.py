"""ADMIN_BIND for a process that is no server: the worker's `/livez` and `/metrics`, from a thread beside its work."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from uvicorn.config import Config
from uvicorn.server import Server

from runtime import health
from runtime.listening import Address

MOST_CONNECTIONS = 64
IDLE_SECONDS = 10

log = logging.getLogger(__name__)


def serve_beside(addresses: Iterable[Address]) -> list[socket.socket]:
    """Serve the pages at these addresses until the process ends; the sockets. An address that cannot be had is logged
    and left out: the process's own work matters more than being watched."""
    listeners = [found for address in addresses if (found := _listen(address)) is not None]
    if listeners:
        Thread(target=_server().run, args=(listeners,), name="admin", daemon=True).start()
    return listeners


def _server() -> Server:
    return Server(
        Config(
            health.of_a_worker,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
        )
    )


def _listen(address: Address) -> socket.socket | None:
    try:
        if address.is_descriptor:
            return socket.socket(fileno=os.dup(int(address.text.removeprefix("fd://"))))
        if isinstance(address.name, str):
            return _listen_at(address.name)
        host, port = address.name
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        log.error("cannot serve metrics at %s of ADMIN_BIND: %s", address.text, error.strerror or error)
        return None


def _listen_at(path: str) -> socket.socket:
    """A socket file that a previous process left behind is replaced; one that answers is not ours to take."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with suppress(ConnectionRefusedError, FileNotFoundError), socket.socket(socket.AF_UNIX) as other:
            other.connect(path)
            raise OSError("another process listens there")
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
