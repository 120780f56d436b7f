"""The gunicorn worker: limits on request heads and quiet connections, and an end that loses no request.

gunicorn's master imports this page, and a reload (HUP) does not read it again. So it must not import the application,
Django's settings or anything else that a reload is meant to renew.
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

COULD_NOT_START = 5  # a worker's exit status; gunicorn has meanings of its own for 3 and 4
ANSWER_AT_ONCE = "authsvc.answer_at_once"  # the name of our ASGI extension


class State(ServerState):
    """What the connections of one worker share."""

    def __init__(self) -> None:
        super().__init__()
        self.now = monotonic()  # at the last tick: exact enough for minutes of keep-alive, and free to read
        self.leaving = False  # each answer from now on is its connection's last


class GateProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits and without a timer per request: one sweep a tick looks at all connections."""

    HEAD_BYTES = 65_536
    HEAD_SECONDS = 10.0  # from the first byte of a head to its last
    UNUSED_SECONDS = 100.0  # before the first request; between requests it is gunicorn's keepalive
    LINGER_SECONDS = 0.5  # what a quiet connection gets when the worker leaves, and a refused one before it is closed

    # A head that is complete within one piece this small needs no counting, which is every head that Traefik sends.
    PIECE_BYTES = 16_384

    server_state: State

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = monotonic()  # when the connection was made, the open head begun, or the last answer sent
        self.open_head = 0  # bytes received of a head that has not ended yet
        self.refused = False
        self.farewell: RequestResponseCycle | None = None  # the answer that we, not the client, made the last one

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
        # Behind a pipelined request we cannot tell where in the piece the head began: count from the next one.
        self.open_head = 1 if self._is_busy() else size
        self.since = monotonic()

    def _is_in_head(self) -> bool:
        """Has the parser begun a request (it has a scope) that it has not handed over (to a cycle)?"""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def refuse(self, status: int) -> None:
        """Answer in place of the application, then read on for a moment without looking.

        To close at once, with bytes unread, would reset the connection and could take the answer away from the client.
        Requests before it on the same connection are answered first; then there is no answer to this one.
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
        # uvicorn's own, but for the timer it makes here for every answer.
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
        """Close or refuse a connection that has been quiet for too long. Called once a tick."""
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
        """The worker is about to stop: what is being answered now is this connection's last answer."""
        self.since = monotonic()
        if self._is_busy() and not self.cycle.response_started:
            self._say_goodbye()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope["extensions"] = {ANSWER_AT_ONCE: partial(answer_at_once, self.cycle)}  # type: ignore[dict-item]
        if self.server_state.leaving:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Send `Connection: close` with the newest request's answer, and with no earlier one in the pipeline."""
        if self.farewell is not None and not self.farewell.response_started:
            self.farewell.keep_alive = True
        self.farewell = self.cycle if self.cycle.keep_alive else None
        self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close if quiet. A request that has arrived, though it is not read yet, is still answered."""
        if self.transport.is_closing() or self._is_busy() or self.open_head:
            return
        if not has_unread_bytes(self.transport):
            self.transport.close()


def answer_at_once(cycle: RequestResponseCycle, head: bytes) -> bool:
    """Write an answer that is a head alone (status line and headers, each with its line break); False: send it instead.

    An ASGI extension of ours: for the two messages of an allowed answer uvicorn checks and joins nine headers one by
    one, which costs as much as the decision. Whoever calls this answers for the head.
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
    """Has the kernel something for this connection that the loop has not read yet?"""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


class GateServer(Server):
    """uvicorn's server for one worker: the gate's listeners, the admin listener, and an orderly end."""

    BOOT_SECONDS = 10.0  # how long the successors of a reload may take before we stop waiting for them
    NOTE_SECONDS = 0.3  # a SIGTERM to the whole process group may reach us before the master has noted its own

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
        """SIGTERM is a reload or the replica's end; SIGINT and SIGQUIT want an end now, though not a rude one.

        uvicorn would die of the same signal once more after its shutdown: then nothing is flushed at exit, and
        gunicorn cannot tell an orderly end from any other.
        """
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self.in_a_hurry |= sig != signal.SIGTERM
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn and uvloop close what they are given; ours stay open for `_accept_the_rest`.
        admin = [listener.dup() for listener in self.listeners if self._is_admin(listener)]
        if admin:
            self.admin_config.load()  # now, because later it would hold up requests
        await super().startup([listener.dup() for listener in self.listeners if not self._is_admin(listener)])
        for listener in admin:
            self.servers.append(await self._serve_health(listener))
        self._tick()
        self.seat.serves(True)

    def _is_admin(self, listener: socket.socket) -> bool:
        return is_bound_to(listener, self.admin_names)

    async def _serve_health(self, listener: socket.socket) -> asyncio.Server:
        """Every worker listens: whichever lives answers for all, and no process more has to be kept alive."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(partial(self._protocol, self.admin_config), sock=listener)

    @property
    def _protocol_class(self) -> type[GateProtocol]:
        return cast(type[GateProtocol], self.config.http_protocol_class)

    def _protocol(self, config: Config) -> GateProtocol:
        return self._protocol_class(config=config, server_state=self.server_state, app_state=self.lifespan.state)

    def _tick(self) -> None:
        """Look at all connections. The next tick is planned first, so no fault in this one can end the limits."""
        self.ticking = asyncio.get_running_loop().call_later(self.tick_seconds, self._tick)
        self.server_state.now = monotonic()
        if os.getppid() != self.master_pid:
            self.handle_exit(signal.SIGQUIT)  # without a master nobody would ever stop us, and the port stays taken
        for connection in list(self.server_state.connections):
            cast(GateProtocol, connection).sweep()

    async def main_loop(self) -> None:
        await super().main_loop()
        await self._serve_on()

    async def _serve_on(self) -> None:
        """Serve while requests still come here: for the drain at the replica's end, after a reload until relieved."""
        begin = monotonic()
        # What is waited for happens in other processes, which set no event of ours.
        while not self.in_a_hurry and monotonic() - begin < self._time_to_serve_on():
            await asyncio.sleep(0.05)

    def _time_to_serve_on(self) -> float:
        if replica.is_draining():
            return self.drain_seconds
        if not replica.was_replaced(self.seat):
            return self.NOTE_SECONDS
        # Without this every request of a reload would wait in the backlog until Django is imported again.
        return 0 if replica.successor_serves(self.seat) else self.BOOT_SECONDS

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._linger()
        await super().shutdown(self.listeners)
        self.ticking.cancel()

    async def _linger(self) -> None:
        """Accept no more, and say `Connection: close` to all who still ask.

        The stock worker closes quiet connections at once and so cuts the requests which are on their way on them:
        above all first requests, which no client may simply repeat. Half a second later almost nobody is left.
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
        """Take what waits in the backlog: when the last process closes a listener, the kernel resets those."""
        loop = asyncio.get_running_loop()
        for listener in self.listeners:
            config = self.admin_config if self._is_admin(listener) else self.config
            for connection in waiting_on(listener):
                await loop.connect_accepted_socket(partial(self._protocol, config), connection, ssl=config.ssl)
            listener.close()


def waiting_on(listener: socket.socket) -> Iterator[socket.socket]:
    """Connections that can be accepted without waiting."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        yield connection


def taken_from(listener: Any) -> socket.socket:
    """gunicorn's listener as a plain socket, and the only descriptor of it that this process keeps.

    uvloop closes the descriptor of a wrapped one twice; and as long as any is open the kernel goes on to complete
    connections that nobody will accept.
    """
    copy = socket.socket(fileno=os.dup(listener.fileno()))
    copy.setblocking(False)
    listener.close()
    return copy


class GateWorker(UvicornWorker):  # type: ignore[misc]
    """What deploy/gunicorn.conf.py runs. It sets the three values below, before the workers are forked."""

    admin_names: frozenset[Name] = frozenset()
    drain_seconds = 5.0
    seat = 0

    TICK_SECONDS = 0.5  # between two looks at all connections
    PAUSE_SECONDS = 2.0  # after a start that failed, before gunicorn makes the next one

    # For both listeners. No header may name the client or the scheme: the gate reads Traefik's itself.
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
        """gunicorn ends a whole replica if one worker cannot load the application, and starts one that dies later again
        without end. Here both are one failed start: `authsvc.preflight.count_failed_start` judges it in the master.
        """
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if replica.ever_served(self.seat) or (isinstance(error, SystemExit) and not error.code):
                raise
            self.log.error("This worker could not start: %s", reason_of(error), exc_info=not is_plain(error))
            if replica.anybody_served():
                time.sleep(self.PAUSE_SECONDS)  # others serve, perhaps: no hurry
            sys.exit(COULD_NOT_START)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = GateServer(self.config, self)
        # uvicorn-worker's own handler for SIGQUIT does nothing that uvicorn notices.
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT)
        try:
            await server.serve(sockets=server.listeners)
        except SystemExit as error:  # uvicorn has logged more
            if server.started:
                raise
            sys.exit(f"the application did not come up (exit status {error.code})")
        if not server.started:
            sys.exit("the application did not come up")
