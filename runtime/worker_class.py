"""The gunicorn worker class: health for its replica, and a shutdown that loses no request.

gunicorn's master imports this module, and a reload (HUP) does not import it again. So it must not import the
application, Django's settings or anything else that a reload should renew.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any, ClassVar, cast

from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from runtime import replica
from runtime.faults import is_plain, reason_of
from runtime.listening import Name, is_bound_to
from runtime.protocol import GateProtocol, State

COULD_NOT_START = 5  # a worker's exit status; gunicorn gives 3 and 4 a meaning of its own


class GateServer(Server):
    """uvicorn's server for one worker: public listeners, admin listeners, and an orderly shutdown."""

    BOOT_SECONDS = 10.0  # how long to wait for a reload's new workers
    NOTE_SECONDS = 0.3  # a SIGTERM to the process group may reach us before the master has noted its own

    server_state: State

    def __init__(self, config: Config, worker: GateWorker) -> None:
        super().__init__(config)
        self.server_state = State()
        self.listeners = [taken_from(listener) for listener in worker.sockets]
        self.master_pid, self.tick_seconds, self.drain_seconds = worker.ppid, worker.TICK_SECONDS, worker.drain_seconds
        self.admin_names = worker.admin_names
        self.admin_config = Config("runtime.health:application", **worker.SERVER, lifespan="off", log_config=None)
        self.seat = replica.sit(worker.seat)
        self.in_a_hurry = False

    def handle_exit(self, sig: int, frame: FrameType | None = None) -> None:
        """SIGTERM means a reload or the replica's end; SIGINT and SIGQUIT ask for a quick but orderly end.

        uvicorn would raise the signal again after its shutdown. Then nothing would be flushed at exit, and gunicorn
        could not tell an orderly end from any other.
        """
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self.in_a_hurry |= sig != signal.SIGTERM
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn and uvloop close the sockets they are given; ours stay open for `_accept_the_rest`.
        admin = [listener.dup() for listener in self.listeners if self._is_admin(listener)]
        if admin:
            self.admin_config.load()  # now; later it would hold up requests
        await super().startup([listener.dup() for listener in self.listeners if not self._is_admin(listener)])
        for listener in admin:
            self.servers.append(await self._serve_health(listener))
        self._tick()
        self.seat.serves(True)

    def _is_admin(self, listener: socket.socket) -> bool:
        return is_bound_to(listener, self.admin_names)

    async def _serve_health(self, listener: socket.socket) -> asyncio.Server:
        """Every worker listens: any of them answers for the replica, so no extra process has to be kept alive."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(partial(self._protocol, self.admin_config), sock=listener)

    @property
    def _protocol_class(self) -> type[GateProtocol]:
        return cast(type[GateProtocol], self.config.http_protocol_class)

    def _protocol(self, config: Config) -> GateProtocol:
        # The application answers nothing at the admin listener.
        app_state = {} if config is self.admin_config else self.lifespan.state
        return self._protocol_class(config=config, server_state=self.server_state, app_state=app_state)

    def _tick(self) -> None:
        """Check all connections. The next tick is scheduled first, so an error in this one cannot stop the limits."""
        self.ticking = asyncio.get_running_loop().call_later(self.tick_seconds, self._tick)
        self.server_state.now = monotonic()
        if os.getppid() != self.master_pid:
            self.handle_exit(signal.SIGQUIT)  # orphaned: nothing would ever stop us, and the port would stay taken
        for connection in list(self.server_state.connections):
            cast(GateProtocol, connection).sweep()

    async def main_loop(self) -> None:
        await super().main_loop()
        await self._serve_on()

    async def _serve_on(self) -> None:
        """Keep serving while requests still arrive: during the drain, or after a reload until a new worker serves."""
        begin = monotonic()
        # Other processes do what we wait for here, so no event of ours is set.
        while not self.in_a_hurry and monotonic() - begin < self._time_to_serve_on():
            await asyncio.sleep(0.05)

    def _time_to_serve_on(self) -> float:
        if replica.is_draining():
            return self.drain_seconds
        if not replica.was_replaced(self.seat):
            return self.NOTE_SECONDS
        # Otherwise requests would wait in the backlog during a reload until Django is imported again.
        return 0 if replica.successor_serves(self.seat) else self.BOOT_SECONDS

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._linger()
        await super().shutdown(self.listeners)
        self.ticking.cancel()

    async def _linger(self) -> None:
        """Accept no more connections, and answer remaining requests with `Connection: close`.

        The stock worker closes idle connections at once, and so loses requests that are on their way on them, above all
        first requests, which a client must not simply repeat. After half a second almost none are left.
        """
        self.server_state.leaving = True
        self.seat.serves(False)
        for server in self.servers:
            server.close()
        await self._accept_the_rest()
        for connection in self.server_state.connections:
            cast(GateProtocol, connection).leave()
        await asyncio.sleep(self._protocol_class.LINGER_SECONDS)

    async def _accept_the_rest(self) -> None:
        """Accept what waits in the backlog: the kernel resets it when the last process closes a listener."""
        loop = asyncio.get_running_loop()
        for listener in self.listeners:
            config = self.admin_config if self._is_admin(listener) else self.config
            for connection in waiting_on(listener):
                await loop.connect_accepted_socket(partial(self._protocol, config), connection, ssl=config.ssl)
            listener.close()


def waiting_on(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that can be accepted without waiting."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        yield connection


def taken_from(listener: Any) -> socket.socket:
    """gunicorn's listener as a plain socket, the only descriptor of it that this process keeps.

    uvloop closes a wrapped socket's descriptor twice, and as long as any descriptor is open the kernel keeps completing
    connections that nobody will accept.
    """
    copy = socket.socket(fileno=os.dup(listener.fileno()))
    copy.setblocking(False)
    listener.close()
    return copy


class GateWorker(UvicornWorker):  # type: ignore[misc]
    """The worker class named in deploy/gunicorn.conf.py, which sets the three values below before it forks."""

    admin_names: frozenset[Name] = frozenset()
    drain_seconds = 5.0
    seat = 0

    TICK_SECONDS = 0.5  # between sweeps over all connections
    PAUSE_SECONDS = 2.0  # after a failed start, before gunicorn tries again

    # For both kinds of listener. No header may set the client or the scheme: the gate reads Traefik's headers itself.
    SERVER: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": GateProtocol,
        "ws": "none",
        "interface": "asgi3",
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "access_log": False,
    }
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**SERVER, "lifespan": "on"}

    def init_process(self) -> None:
        """gunicorn ends the whole replica if a worker cannot load the application, but endlessly restarts one that
        dies a little later. Here both are a failed start, which `authsvc.preflight.count_failed_start` judges in the
        master.
        """
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if replica.ever_served(self.seat) or (isinstance(error, SystemExit) and not error.code):
                raise
            self.log.error("This worker could not start: %s", reason_of(error), exc_info=not is_plain(error))
            if replica.anybody_served():
                time.sleep(self.PAUSE_SECONDS)  # others may be serving, so there is no hurry
            sys.exit(COULD_NOT_START)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = GateServer(self.config, self)
        # uvicorn does not notice uvicorn-worker's own SIGQUIT handler.
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT)
        try:
            await server.serve(sockets=server.listeners)
        except SystemExit as error:  # uvicorn has logged the details
            if server.started:
                raise
            sys.exit(f"the application did not start (exit status {error.code})")
        if not server.started:
            sys.exit("the application did not start")
