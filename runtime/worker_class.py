"""The gunicorn worker class: limits on request heads and idle connections, and a shutdown that loses no request.

gunicorn's master imports this module, and a reload (HUP) does not import it again. So it must not import the
application, Django's settings or anything else that a reload should renew.
"""

from __future__ import annotations

import asyncio
import os
import select
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
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState
from uvicorn_worker import UvicornWorker

from runtime import replica
from runtime.faults import is_plain, reason_of
from runtime.listening import Name, is_bound_to

COULD_NOT_START = 5  # a worker's exit status; gunicorn gives 3 and 4 a meaning of its own
ANSWER_AT_ONCE = "authsvc.answer_at_once"  # the name of our ASGI extension


class State(ServerState):
    """State shared by the connections of one worker."""

    def __init__(self) -> None:
        super().__init__()
        self.now = monotonic()  # at the last tick: precise enough for keep-alive, and free to read
        self.leaving = False  # every answer from now on is the last one on its connection


class GateProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits, and without a timer per request: one sweep per tick checks all connections."""

    HEAD_BYTES = 65_536
    HEAD_SECONDS = 10.0  # from the first byte of a head to the last
    UNUSED_SECONDS = 100.0  # before the first request; between requests gunicorn's keepalive applies
    LINGER_SECONDS = 0.5  # for an idle connection when the worker leaves, and for a refused one before it is closed

    # A head that arrives whole in one piece this small needs no counting. That covers every head Traefik sends.
    PIECE_BYTES = 16_384

    server_state: State

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = monotonic()  # when the connection was made, the open head began, or the last answer was sent
        self.open_head = 0  # bytes received of an unfinished head
        self.refused = False
        self.farewell: RequestResponseCycle | None = None  # the answer that we made the last

    # Receiving

    def data_received(self, data: bytes) -> None:
        if self.open_head or len(data) > self.PIECE_BYTES:
            self._receive_in_pieces(data)
            return
        super().data_received(data)
        if self._is_in_head():
            self._begin_head(len(data))

    def _receive_in_pieces(self, data: bytes) -> None:
        while data and not self.refused and not self.transport.is_closing():
            size = min(self.PIECE_BYTES, self.HEAD_BYTES - self.open_head)
            piece, data = data[:size], data[size:]
            head_before = self.scope
            super().data_received(piece)
            self._measure_head(len(piece), is_new=self.scope is not head_before)

    def _measure_head(self, size: int, *, is_new: bool) -> None:
        if not self._is_in_head():
            self.open_head = 0
        elif is_new:
            self._begin_head(size)
        else:
            self.open_head += size
        if self.open_head >= self.HEAD_BYTES:
            self.refuse(431)

    def _begin_head(self, size: int) -> None:
        # After a pipelined request we cannot tell where in the piece the head began, so count from the next.
        self.open_head = 1 if self._is_busy() else size
        self.since = monotonic()

    def _is_in_head(self) -> bool:
        """Has the parser begun a request (there is a scope) but not handed it over yet (to a cycle)?"""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def refuse(self, status: int) -> None:
        """Answer instead of the application, then read and discard for a moment.

        Closing at once, with bytes unread, would reset the connection and could lose the answer. If an earlier request
        on the connection is still being answered, that is finished and this one gets no answer.
        """
        self.refused, self.open_head, self.since = True, self.HEAD_BYTES, monotonic()
        if self._is_busy():
            self.cycle.keep_alive = False
            return
        self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # Answering

    def on_response_complete(self) -> None:
        # uvicorn's own method, minus the timer it sets here for every answer.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.since = self.server_state.now
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    # Waiting

    def sweep(self) -> None:
        """Close or refuse a connection that has been idle for too long. Called once per tick."""
        if self._is_busy() or self.server_state.now - self.since <= self._patience():
            return
        if self.refused:
            self.transport.close()
        elif self.open_head:
            self.refuse(408)
        else:
            self.shutdown()

    def _patience(self) -> float:
        if self.refused:
            return self.LINGER_SECONDS
        if self.open_head:
            return self.HEAD_SECONDS
        if self.server_state.leaving:
            return self.LINGER_SECONDS
        return self.UNUSED_SECONDS if self.cycle is None else self.timeout_keep_alive

    # Leaving

    def leave(self) -> None:
        """The worker is about to stop: the answer in progress is this connection's last."""
        self.since = monotonic()
        if self._is_busy() and not self.cycle.response_started:
            self._say_goodbye()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope["extensions"] = {ANSWER_AT_ONCE: partial(answer_at_once, self.cycle)}  # type: ignore[dict-item]
        if self.server_state.leaving:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Send `Connection: close` with the answer to the newest pipelined request only."""
        if self.farewell is not None and not self.farewell.response_started:
            self.farewell.keep_alive = True
        self.farewell = self.cycle if self.cycle.keep_alive else None
        self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close if idle. A request that has arrived but has not been read yet is still answered."""
        if self.transport.is_closing() or self._is_busy() or self.open_head:
            return
        if not has_unread_bytes(self.transport):
            self.transport.close()


def answer_at_once(cycle: RequestResponseCycle, head: bytes) -> bool:
    """Write an answer without a body: status line and headers, each with its line break. If False, use `send` instead.

    Our own ASGI extension: with the usual two messages uvicorn checks and joins nine headers one by one, which costs as
    much as the decision. The caller is responsible for a valid head.
    """
    if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(head + (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def has_unread_bytes(transport: asyncio.BaseTransport) -> bool:
    """Does the kernel hold data for this connection that the loop has not read yet?"""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


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
        return self._protocol_class(config=config, server_state=self.server_state, app_state=self.lifespan.state)

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
