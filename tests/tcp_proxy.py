"""A network that is slow, or that forgets: a TCP proxy between a client and a server on this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BYTES = 65536


class Proxy:
    """Carries bytes to `to`. `seconds` pass before a new connection carries anything."""

    def __init__(self, to: int, seconds: float) -> None:
        self._to, self._seconds = to, seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.accepted = 0
        self._sockets: list[socket.socket] = []
        self._forgotten: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self) -> None:
        """Carry nothing any more on the connections there are, and tell nobody: what a NAT does after a quiet time."""
        self._forgotten.update(self._sockets)

    def close(self) -> None:
        for one in [self._listener, *self._sockets]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._to))
            self._sockets += [client, server]
            time.sleep(self._seconds)
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
            self._pump(client, server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(BYTES):
                if source in self._forgotten:
                    continue
                sink.sendall(data)
        if source not in self._forgotten:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(to: int, *, seconds: float = 0.0) -> Iterator[Proxy]:
    found = Proxy(to, seconds)
    try:
        yield found
    finally:
        found.close()
