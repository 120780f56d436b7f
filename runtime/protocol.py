"""HTTP on one connection: limits on heads and idle connections, and answers that take no detour by ASGI."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

Headers = list[tuple[bytes, bytes]]  # names in lower case

# A request with one of these has a body, or wants more of its connection than an answer.
_FRAMING = frozenset((b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"))
LONGEST_URL = 512  # of a request that is answered directly, as some are remembered


class DirectAnswers(NamedTuple):
    """An application's offer, in its lifespan's state under OFFER: `ask` answers a GET of `path`, by query and headers.

    It calls the last argument, once, with the answer's head (the status line and all headers but `Connection`, each
    with its line break) and its body. That spares the request a scope, a cycle, an event and a task, which together
    cost as much as a decision. It must never raise. Other servers know nothing of this and call the application.
    """

    path: bytes
    ask: Callable[[bytes, Headers, Callable[[bytes, bytes], None]], None]


OFFER = "authsvc.direct_answers"


class State(ServerState):
    """State shared by the connections of one worker."""

    def __init__(self) -> None:
        super().__init__()
        self.now = monotonic()  # at the last tick: precise enough for keep-alive, and free to read
        self.leaving = False  # every answer from now on is the last one on its connection


class _NoEvent:
    """Nobody waits for the messages of a direct exchange."""

    def set(self) -> None: ...


class Exchange:
    """A request that is answered directly, in place of uvicorn's cycle."""

    __slots__ = ("_headers", "_offer", "_protocol", "_query", "disconnected", "keep_alive", "response_complete")

    message_event = _NoEvent()

    def __init__(self, protocol: GateProtocol, offer: DirectAnswers, query: bytes) -> None:
        self._protocol, self._offer, self._query, self._headers = protocol, offer, query, protocol.headers
        self.keep_alive = protocol.parser.should_keep_alive()
        self.disconnected = self.response_complete = False

    @property
    def response_started(self) -> bool:
        return self.response_complete  # an answer is written in one piece

    def begin(self) -> None:
        """Ask for the answer, which may come at once."""
        if not self._protocol.transport.is_closing():
            self._offer.ask(self._query, self._headers, self.answer)

    def answer(self, head: bytes, body: bytes) -> None:
        protocol = self._protocol
        if protocol.transport.is_closing():
            return
        if protocol.flow.write_paused:
            protocol.answer_later(self, head, body)
            return
        self.response_complete = True
        protocol.transport.write(head + (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n") + body)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


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
        self.offer: DirectAnswers | None = self.app_state.get(OFFER)
        self.since = monotonic()  # when the connection was made, the open head began, or the last answer was sent
        self.heads = 0  # how many requests have begun
        self.is_in_head = False  # the newest of them is not read to the end of its head
        self.is_plain = True  # nor has it a header of _FRAMING
        self.open_head = 0  # bytes received of an unfinished head
        self.refused = False
        self.farewell: RequestResponseCycle | Exchange | None = None  # the answer that we made the last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """uvicorn's own method, minus six system calls for addresses that only the application wants to know."""
        self.connections.add(self)
        self.transport, self.flow = transport, FlowControl(transport)

    # Receiving

    def data_received(self, data: bytes) -> None:
        if self.open_head or len(data) > self.PIECE_BYTES:
            self._receive_in_pieces(data)
            return
        super().data_received(data)
        if self.is_in_head:
            self._begin_head(len(data))

    def _receive_in_pieces(self, data: bytes) -> None:
        while data and not self.refused and not self.transport.is_closing():
            size = min(self.PIECE_BYTES, self.HEAD_BYTES - self.open_head)
            piece, data = data[:size], data[size:]
            heads_before = self.heads
            super().data_received(piece)
            self._measure_head(len(piece), is_new=self.heads != heads_before)

    def _measure_head(self, size: int, *, is_new: bool) -> None:
        if not self.is_in_head:
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

    # Understanding. uvicorn's own methods, except that a scope is made only for what goes to the application.

    def on_message_begin(self) -> None:
        self.heads += 1
        self.is_in_head = self.is_plain = True
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _FRAMING:
            self.is_plain = False
            self.expect_100_continue |= name == b"expect" and value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        if self.transport.is_closing():
            return  # what follows the last answer gets none
        was_busy = self._is_busy()
        exchange = self._new_exchange()
        if exchange is None:
            self._call_the_application()
        else:
            self.cycle = cast(RequestResponseCycle, exchange)
        if self.server_state.leaving:
            self._say_goodbye()
        if exchange is not None:
            self._begin(exchange, was_busy)

    def _new_exchange(self) -> Exchange | None:
        """An exchange, if this request can be answered directly."""
        offer, url = self.offer, self.url
        if offer is None or not self.is_plain or len(url) > LONGEST_URL or self.parser.get_method() != b"GET":
            return None
        query = query_at(offer.path, url)
        return None if query is None else Exchange(self, offer, query)

    def _begin(self, exchange: Exchange, was_busy: bool) -> None:
        if was_busy:  # pipelined: its turn comes after what was asked before
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            exchange.begin()

    def _call_the_application(self) -> None:
        if self.scheme is None:
            self._learn_addresses()
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def _learn_addresses(self) -> None:
        self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
        self.scheme = "https" if is_ssl(self.transport) else "http"

    def on_message_complete(self) -> None:
        if not isinstance(self.cycle, Exchange):  # which has no body
            super().on_message_complete()

    # Answering

    def answer_later(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        """The client reads too slowly: wait until it has read what was written before."""
        waiting = self.loop.create_task(self._answer_when_read(exchange, head, body))
        self.tasks.add(waiting)
        waiting.add_done_callback(self.tasks.discard)

    async def _answer_when_read(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        await self.flow.drain()
        exchange.answer(head, body)

    def on_response_complete(self) -> None:
        # uvicorn's own method, minus the timer it sets here for every answer.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.since = self.server_state.now
        if not self.pipeline:
            self.flow.resume_reading()
            return
        cycle, app = self.pipeline.pop()
        if isinstance(cycle, Exchange):
            self.loop.call_soon(cycle.begin)  # not now: a long pipeline would become a deep recursion
        else:
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


@lru_cache(256)
def query_at(path: bytes, url: bytes) -> bytes | None:
    """The query of a request for this path; None for a different path, or where only a full parser can tell.

    Operators write these addresses, so there are few of them.
    """
    found, _, query = url.partition(b"?")
    is_simple = url.isascii() and url.decode().isprintable() and b"#" not in url
    return query if found == path and is_simple else None


def has_unread_bytes(transport: asyncio.BaseTransport) -> bool:
    """Does the kernel hold data for this connection that the loop has not read yet?"""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
