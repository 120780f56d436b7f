"""One connection to one Redis master, shared by all decisions of a process: waiting commands go out in one write.

Replies come in the order of the commands, so an abandoned command keeps its place. *A command that may have been
executed is never sent again.* Anything unexpected, or a batch that has not ended after BATCH_SECONDS, permanently
closes the connection and fails everything that waits on it. A new connection must answer a PING before it is used.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, ClassVar, cast

import hiredis

from store.clients import StoreRefused, StoreUnavailable
from store.commands import pack
from store.keepalive import PING_SECONDS
from store.meter import PipeMeter

MOST_IN_FLIGHT = 256
MOST_WAITING = 4096
BATCH_SECONDS = 0.150
DECISION_SECONDS = 0.250
TICK_SECONDS = 0.025
CONNECT_SECONDS = 2.0  # for the name, its addresses, TLS and signing in together; no decision waits for it
LONGEST_PAUSE_SECONDS = 1.0

Reply = Any  # as hiredis parses it: int, bytes, list, None, or a ReplyError as a value
Factory = Callable[[], "_Connection"]
Connected = tuple[asyncio.BaseTransport, Any]  # with the protocol that the factory made
Connect = Callable[[Factory], Awaitable[Connected]]

log = logging.getLogger(__name__)


PING = pack("PING")
NAME = pack("CLIENT", "SETNAME", "authsvc-gate")
COSMETIC = frozenset({NAME})  # may be refused: an ACL need not allow a command that only helps people


class _Connection(asyncio.Protocol):
    """Sends batches and hands replies out strictly in order."""

    def __init__(
        self, lost: Callable[[_Connection], None], drained: Callable[[], None], hello: Sequence[bytes] = ()
    ) -> None:
        self._reader = hiredis.Reader()
        self._lost, self._drained, self._hello = lost, drained, [*hello, PING]
        self.is_greeted = False
        self.transport: asyncio.Transport | None = None
        self.in_flight: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self.sent, self.sent_at = 0, 0.0  # the last batch: its commands, and when it went out

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, commands: list[bytes], askers: list[tuple[asyncio.Future[Reply], float]], now: float) -> None:
        assert self.transport is not None
        self.in_flight.extend(askers)
        self.sent, self.sent_at = len(commands), now
        self.transport.write(b"".join(commands))

    def data_received(self, data: bytes) -> None:
        reader, in_flight = self._reader, self.in_flight
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                future = in_flight.popleft()[0]
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            log.error("redis sent something that does not answer a command; closing the connection")
            self.close()
            return
        if not in_flight:
            self._drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()

    async def greet(self) -> None:
        """Sign in and choose the database, once. The final PING is the breaker's probe. Raises StoreUnavailable."""
        if self.is_greeted:
            return
        if self.transport is None:
            raise StoreUnavailable("redis closed the connection")
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in self._hello]
        self.send(self._hello, [(future, 0.0) for future in futures], monotonic())
        for command, reply in zip(self._hello, await asyncio.gather(*futures), strict=True):
            if isinstance(reply, hiredis.ReplyError) and command not in COSMETIC:
                raise StoreUnavailable(f"redis refused the connection: {reply}")
        self.is_greeted = True

    def close(self) -> None:
        """Close it permanently: all commands that wait on it fail."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
            self._lost(self)
        while self.in_flight:
            future = self.in_flight.popleft()[0]
            if not future.done():
                future.set_exception(StoreUnavailable("the connection to redis was lost"))


class Pipe:
    """Asks one Redis master. It belongs to the event loop it was made in."""

    meter: ClassVar[PipeMeter] = PipeMeter()

    def __init__(self, connect: Connect, hello: Sequence[bytes], seconds: float = CONNECT_SECONDS) -> None:
        self._connect, self._hello, self._seconds = connect, hello, seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, asyncio.Future[Reply], float]] = deque()
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._broken = False  # the breaker: no decision waits for a Redis that failed the last time
        self._flush_is_due = False
        self._ticker: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self.trouble = ""  # why it is broken

    def ask(self, command: bytes, deadline: float | None = None) -> asyncio.Future[Reply]:
        """The reply to a packed command. Redis's errors are returned as hiredis.ReplyError.

        It arrives by `deadline` (monotonic seconds) if one is given, otherwise within a decision's time.

        Raises StoreUnavailable at once while Redis is known to be away or too many commands wait; so may the future.
        """
        if self._broken:
            raise StoreUnavailable("redis is away")
        if len(self._waiting) >= MOST_WAITING:
            self.meter.failed("overrun")
            raise StoreRefused("too many commands wait for redis")
        future = self._loop.create_future()
        self._waiting.append((command, future, deadline or monotonic() + DECISION_SECONDS))
        if not self._flush_is_due:
            connection = self._connection
            if connection is None:
                self.open()
            elif not connection.in_flight:
                self._flush_is_due = True
                self._loop.call_soon(self._flush)
        return future

    @property
    def is_broken(self) -> bool:
        """Whether Redis failed to answer the last time."""
        return self._broken

    def open(self) -> None:
        """Start connecting, unless that is under way."""
        if self._opening is None and self._connection is None and not self._closed:
            self._opening = self._loop.create_task(self._open())
        self._tick_later()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.close()
        for timer in (self._ticker, self._watch):
            if timer is not None:
                timer.cancel()
        if self._broken:
            self.meter.mended()  # nobody waits for this pipe any more

    def drop(self, why: str) -> None:
        """Close the connection, so that the master is looked up again."""
        if self._connection is not None:
            self.trouble = why
            self._connection.close()

    def _on_drained(self) -> None:
        connection = self._connection
        if connection is not None:
            self.meter.answered(connection.sent, monotonic() - connection.sent_at)
        self._flush()

    def _flush(self) -> None:
        self._flush_is_due = False
        connection = self._connection
        if connection is None or connection.transport is None or not self._waiting:
            return
        now = monotonic()
        commands: list[bytes] = []
        askers: list[tuple[asyncio.Future[Reply], float]] = []
        room = MOST_IN_FLIGHT - len(connection.in_flight)
        while self._waiting and len(commands) < room:
            command, future, deadline = self._waiting.popleft()
            if not future.done():  # one that was abandoned before it was sent is never sent
                commands.append(command)
                askers.append((future, deadline))
        if commands:
            connection.send(commands, askers, now)
            self._tick_later()

    def _tick_later(self) -> None:
        if self._ticker is None and not self._closed:
            self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        """Enforce the time limits of the batch and of each decision, with one timer for all."""
        self._ticker = None
        now, connection = monotonic(), self._connection
        if connection is not None and connection.in_flight:
            if now - connection.sent_at > BATCH_SECONDS:
                self.trouble = f"redis did not answer a batch within {BATCH_SECONDS * 1000:.0f} ms"
                log.error("%s; closing the connection", self.trouble)
                self.meter.failed("slow_batch")
                connection.close()
            else:
                for future, deadline in connection.in_flight:
                    if deadline <= now:
                        self._give_up(future)
        late = [future for _, future, deadline in self._waiting if deadline <= now]
        if late and connection is None:
            # Connecting takes longer than a decision may, so no decision waits for it any more.
            self._break(self.trouble or "still connecting")
            self._fail_waiting()
        elif late:
            self._waiting = deque(asked for asked in self._waiting if asked[2] > now)
            for future in late:
                self._give_up(future)
        if self._waiting or (self._connection is not None and self._connection.in_flight):
            self._tick_later()

    def _break(self, trouble: str) -> None:
        """Open the breaker: from now on no decision waits for this Redis."""
        self.trouble = trouble
        if not self._broken:
            self._broken = True
            self.meter.broke()

    def _mend(self) -> None:
        self.trouble = ""
        if self._broken:
            self._broken = False
            self.meter.mended()
            log.warning("redis is back")

    def _give_up(self, future: asyncio.Future[Reply]) -> None:
        if not future.done():
            self.meter.failed("late")
            future.set_exception(StoreUnavailable("redis did not answer in time"))

    def _fail_waiting(self) -> None:
        while self._waiting:
            self._give_up(self._waiting.popleft()[1])

    def _on_lost(self, connection: _Connection) -> None:
        if connection is not self._connection:
            return  # it was never in use: _open handles that
        self._connection = None
        if not self._closed:
            self.meter.failed("lost")
        self._break(self.trouble or "the connection was lost")
        self._fail_waiting()
        self.open()

    async def _open(self) -> None:
        pause = TICK_SECONDS
        while (connection := await self._try()) is None:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self._mend()
        self._connection, self._opening = connection, None
        self._watch_later(PING_SECONDS)
        self._flush()

    async def _try(self) -> _Connection | None:
        """A connection that has answered; None if that is impossible now."""
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._seconds):
                _, connection = await self._connect(lambda: _Connection(self._on_lost, self._on_drained, self._hello))
                await connection.greet()
            if connection.transport is None:  # it ended between its last reply and this line
                raise StoreUnavailable("redis closed the connection")
            return connection
        except (OSError, TimeoutError, UnicodeError, StoreUnavailable) as error:
            self._note(error)
            if connection is not None:
                connection.close()
            self._fail_waiting()
            return None
        except asyncio.CancelledError:
            if connection is not None:
                connection.close()
            raise

    def _note(self, error: Exception) -> None:
        trouble = str(error) or f"no answer within {self._seconds:g} s"
        if trouble != self.trouble:  # once, and again when the reason changes
            log.error("redis cannot be reached: %s", trouble)
        self.meter.failed("connect")
        self._break(trouble)

    # Quiet connections: one timer for each pipe, none for a request.

    def _watch_later(self, seconds: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = None if self._closed else self._loop.call_later(seconds, self._keep_alive)

    def _keep_alive(self) -> None:
        """Send a PING after PING_SECONDS of silence. Without an answer the connection is closed as after any batch, and
        replaced before a decision needs it."""
        if self._connection is None:
            return  # the next connection starts a timer of its own
        quiet = monotonic() - self._connection.sent_at
        if quiet >= PING_SECONDS:
            with suppress(StoreUnavailable):
                self.ask(PING).add_done_callback(_read)
            quiet = 0.0
        self._watch_later(PING_SECONDS - quiet)


def _read(future: asyncio.Future[Reply]) -> None:
    if not future.cancelled():
        future.exception()  # retrieved here, because nothing else waits for it


async def shut(pipes: list[Pipe]) -> None:
    """Close the pipes, and wait until their tasks have ended and their sockets are closed."""
    for pipe in pipes:
        pipe.close()
        if pipe._opening is not None:
            with suppress(asyncio.CancelledError):
                await pipe._opening
    await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next iteration
