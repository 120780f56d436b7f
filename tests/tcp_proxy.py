"""A network that is slow, or that forgets: a TCP proxy between a client and a server on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
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
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def forget(self) -> None:
        """Carry nothing any more on the connections there are, and tell nobody: what a NAT does after a quiet time."""
        self._forgotten.update(self._sockets)

    def close(self) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self.accepted += 1
                self._start(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            self._sockets.append(server)
            if self._closing.wait(self._seconds):
                return
            back = self._start(self._pump, server, client)
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(BYTES):
                if source not in self._forgotten:
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(to: int, *, seconds: float = 0.0) -> Iterator[Proxy]:
    found = Proxy(to, seconds)
    try:
        yield found
    finally:
        found.close()
