"""The connection that all decisions share: order, errors in their place, bounds, and closing permanently."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import hiredis
import pytest

from store import pipe
from store.clients import StoreRefused, StoreUnavailable
from store.commands import Script, command, pack
from store.link import Link
from store.meter import PipeMeter
from store.pipe import Pipe, shut
from tests.deadlines import GENEROUS_SECONDS
from tests.servers import redis_server, until

ECHO = Script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")


@pytest.fixture
def link(on_a_loop, redis_db, settings):
    """A link to a real Redis."""

    async def make() -> Link:
        link = Link(settings.REDIS_URL)
        return link

    link = on_a_loop(make())
    yield link
    on_a_loop(link.close())


async def each(asks: list[Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*asks, return_exceptions=True)


def test_a_packed_command_is_unpacked():
    reader = hiredis.Reader()
    reader.feed(pack("SET", "a", b"\r\n\x00", 7))
    assert reader.gets() == [b"SET", b"a", b"\r\n\x00", b"7"]


def test_each_of_1000_commands_gets_its_own_answer(link, on_a_loop, redis_db):
    """Every tenth fails on a key of a wrong type; the script is flushed in between."""
    for number in range(0, 1000, 10):
        redis_db.rpush(f"key-{number}", "planted")

    async def ask(number: int) -> object:
        if number == 500:
            await link.ask("", command("SCRIPT", "FLUSH"))
        return await link.ask("", ECHO.call([f"key-{number}"], [number]))

    for _ in range(2):
        replies = on_a_loop(each([ask(number) for number in range(1000)]))
        for number, reply in enumerate(replies):
            if number % 10 == 0:
                assert isinstance(reply, StoreUnavailable)
            else:
                assert reply[:2] == [f"key-{number}".encode(), str(number).encode()]
    # What Redis said it had not executed went once more; nothing else went twice.
    assert all(redis_db.get(f"key-{number}") == "2" for number in range(1000) if number % 10)


def test_a_script_that_is_gone_is_loaded_once_for_all_who_need_it_each_time_it_is(link, on_a_loop, redis_db):
    for times in (1, 2):
        redis_db.script_flush()
        if times == 1:
            redis_db.config_resetstat()
        replies = on_a_loop(each([link.ask("", ECHO.call([f"key-{number}"], [number])) for number in range(50)]))
        assert [reply[2] for reply in replies] == [times] * 50
        counts = redis_db.info("commandstats")
        assert counts["cmdstat_script|load"]["calls"] == times
        assert "cmdstat_eval" not in counts


NOT_EXECUTED = ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "LOADING", "READONLY")
OTHERS = ("OOM", "NOPERM", "NOAUTH", "WRONGTYPE", "BUSY", "ERR", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "")


@pytest.mark.parametrize("word", [*NOT_EXECUTED, *OTHERS])
def test_only_what_redis_did_not_execute_and_may_execute_later_is_asked_again(link, on_a_loop, redis_db, word):
    """A Redis that refuses is none that is away: where that lifts the limits, a full one must not."""
    again = link.again("", command("INCR", "a"), hiredis.ReplyError(f"{word} and the rest"))
    if word in NOT_EXECUTED:
        assert on_a_loop(again) == 1
    else:
        with pytest.raises(StoreRefused):
            on_a_loop(again)
    assert redis_db.get("a") == ("1" if word in NOT_EXECUTED else None)


def test_a_second_attempt_that_gets_no_answer_is_given_up(link, on_a_loop, monkeypatch):
    monkeypatch.setattr("store.link.DECISION_SECONDS", 0.01)

    class Hanging:
        async def execute_command(self, *_):
            await asyncio.Event().wait()

        async def aclose(self) -> None: ...

    async def run() -> BaseException | None:
        link._client = Hanging()
        asking = asyncio.ensure_future(link.again("", command("GET", "a"), hiredis.ReplyError("LOADING")))
        ended, _ = await asyncio.wait([asking], timeout=20)
        assert ended
        error: BaseException | None = asking.exception()
        return error

    assert isinstance(on_a_loop(run()), StoreUnavailable)


def test_what_waits_goes_in_one_write(link, on_a_loop, monkeypatch):
    writes: list[int] = []
    send = pipe._Connection.send

    def watch(self, commands, *rest):
        writes.append(len(commands))
        send(self, commands, *rest)

    monkeypatch.setattr(pipe._Connection, "send", watch)
    on_a_loop(link.ask("", command("PING")))
    writes.clear()
    on_a_loop(each([link.ask("", command("PING")) for _ in range(100)]))
    assert writes == [100]


def test_commands_in_flight_and_waiting_are_bounded(link, on_a_loop, monkeypatch):
    on_a_loop(link.ask("", command("PING")))
    most = 0
    send = pipe._Connection.send

    def watch(self, commands, *rest):
        nonlocal most
        send(self, commands, *rest)
        most = max(most, len(self.in_flight))

    monkeypatch.setattr(pipe._Connection, "send", watch)

    async def flood() -> list[object]:
        asks = []
        for _ in range(pipe.MOST_WAITING + 10):
            try:
                asks.append(link.send("", pack("PING")))
            except StoreRefused as error:  # Redis is up: where it is not, limits may be off
                assert "too many" in str(error)
                break
        assert len(asks) == pipe.MOST_WAITING
        return await each(asks)

    assert on_a_loop(flood()) == [b"PONG"] * pipe.MOST_WAITING
    assert most == pipe.MOST_IN_FLIGHT


class Fake:
    """A server that answers as told: only here, because a real Redis does not hang or babble when it should."""

    def __init__(self, answer: Callable[[list[bytes], asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._answer = answer
        self.seen: list[list[bytes]] = []
        self.connections = 0

    async def __aenter__(self) -> Fake:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        commands = hiredis.Reader()
        try:
            while data := await reader.read(65536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    if command == [b"PING"]:
                        writer.write(b"+PONG\r\n")
                        continue
                    self.seen.append(command)
                    await self._answer(command, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def pipe(self) -> Pipe:
        return Pipe(lambda factory: asyncio.get_running_loop().create_connection(factory, "127.0.0.1", self.port), [])


async def hang(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    """No answer at all."""


async def babble(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def twice(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK\r\n+OK\r\n")


async def slow(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.1)
    writer.write(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))


async def torn(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    """An answer in pieces of random length."""
    answer = b"*2\r\n$%d\r\n%b\r\n:7\r\n" % (len(command[1]), command[1])
    while answer:
        size = random.randint(1, 4)
        writer.write(answer[:size])
        answer = answer[size:]
        await asyncio.sleep(0)


def test_a_batch_without_its_last_reply_ends_the_connection_and_everything_on_it(on_a_loop, monkeypatch):
    monkeypatch.setattr(pipe, "BATCH_SECONDS", 0.15)

    async def run() -> None:
        async with Fake(hang) as server:
            pipe_ = server.pipe()
            outcomes = await each([pipe_.ask(pack("GET", number)) for number in range(20)])
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
            await until(lambda: server.connections >= 2)
            assert len(server.seen) == 20  # what may have been executed is never sent again
            await shut([pipe_])

    on_a_loop(run())


@pytest.mark.timed
def test_a_command_without_a_reply_fails_within_the_time_of_a_decision(on_a_loop):
    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with Fake(hang) as server:
            pipe_ = server.pipe()
            began = loop.time()
            await each([pipe_.ask(pack("GET", "a"))])
            assert loop.time() - began < pipe.DECISION_SECONDS + 0.1
            await shut([pipe_])

    on_a_loop(run())


@pytest.mark.parametrize("earlier", ["sent", "waiting"])
def test_each_command_keeps_its_own_deadline_in_whatever_order_they_end(on_a_loop, earlier):
    """A decision's second question has less time left than another decision's first."""

    async def run() -> None:
        async with Fake(hang) as server:
            pipe_ = server.pipe()
            pipe_.open()
            await until(lambda: server.connections == 1 and pipe_._connection is not None)
            patient = [pipe_.ask(pack("GET", "patient"))]
            if earlier == "waiting":  # behind the batch that hangs, and behind one that may wait longer
                await until(lambda: bool(server.seen))
                patient.append(pipe_.ask(pack("GET", "behind it")))
            with pytest.raises(StoreUnavailable, match="in time"):
                async with asyncio.timeout(10):
                    await pipe_.ask(pack("GET", "hurried"), asyncio.get_running_loop().time())
            assert not any(future.done() for future in patient)
            await shut([pipe_])
            await each([*patient])

    on_a_loop(run())


@pytest.mark.parametrize("lost", ["the connection", "an attempt to connect"])
def test_what_waits_behind_a_loss_fails_with_it_and_not_at_its_deadline(on_a_loop, lost):
    async def run() -> None:
        loop, may_fail = asyncio.get_running_loop(), asyncio.Event()

        async def fail(factory):
            await may_fail.wait()
            raise OSError("nobody listens")

        async with Fake(hang) as server:
            pipe_ = server.pipe() if lost == "the connection" else Pipe(fail, [])
            pipe_.open()
            asked = [pipe_.ask(pack("GET", "in flight"), loop.time() + 3600)]
            if lost == "the connection":
                await until(lambda: bool(server.seen))
            asked.append(pipe_.ask(pack("GET", "waiting"), loop.time() + 3600))
            may_fail.set()
            pipe_.drop("for a test")
            async with asyncio.timeout(20):
                outcomes = await each([*asked])
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
            await shut([pipe_])

    on_a_loop(run())


@pytest.fixture
def failures(monkeypatch):
    """What pipes report of failures."""
    found: list[str] = []

    class Meter(PipeMeter):
        def failed(self, how: str) -> None:
            found.append(how)

    monkeypatch.setattr(Pipe, "meter", Meter())
    return found


def test_each_command_that_is_given_up_is_reported(on_a_loop, failures):
    async def run() -> None:
        async with Fake(hang) as server:
            pipe_ = server.pipe()
            pipe_.open()
            await until(lambda: pipe_._connection is not None)
            soon = asyncio.get_running_loop().time()
            await each([pipe_.ask(pack("GET", number), soon) for number in range(3)])
            assert failures == ["late"] * 3
            await shut([pipe_])

    on_a_loop(run())


def test_a_batch_that_is_too_slow_is_reported_before_its_connection(on_a_loop, failures, monkeypatch):
    monkeypatch.setattr(pipe, "BATCH_SECONDS", 0.0)

    async def run() -> None:
        async with Fake(hang) as server:
            pipe_ = server.pipe()
            with suppress(StoreUnavailable):
                await pipe_.ask(pack("GET", "a"))
            assert failures == ["slow_batch", "lost"]
            await shut([pipe_])
            assert failures == ["slow_batch", "lost"]  # closing is no loss

    on_a_loop(run())


def test_a_command_for_which_there_is_no_room_is_reported(on_a_loop, failures, monkeypatch):
    monkeypatch.setattr(pipe, "MOST_WAITING", 0)

    async def run() -> None:
        async with Fake(hang) as server:
            pipe_ = server.pipe()
            with pytest.raises(StoreRefused):
                pipe_.ask(pack("GET", "a"))
            assert failures == ["overrun"]
            await shut([pipe_])

    on_a_loop(run())


def test_why_redis_cannot_be_reached_is_logged_once_and_again_when_that_changes(on_a_loop, caplog, monkeypatch):
    reasons = iter(["refused", "refused", "no route", "no route", "refused"])

    async def run() -> None:
        enough = asyncio.Event()

        async def connect(factory):
            if (reason := next(reasons, None)) is None:
                enough.set()
                await asyncio.Event().wait()
            raise OSError(reason)

        monkeypatch.setattr(pipe, "TICK_SECONDS", 0.0)
        pipe_ = Pipe(connect, [])
        pipe_.open()
        await asyncio.wait_for(enough.wait(), 20)
        await shut([pipe_])

    on_a_loop(run())
    assert [record.args for record in caplog.records] == [("refused",), ("no route",), ("refused",)]


@pytest.mark.parametrize("fault", [babble, twice])
def test_what_is_no_reply_to_a_question_ends_the_connection(on_a_loop, fault):
    async def run() -> None:
        async with Fake(fault) as server:
            pipe_ = server.pipe()
            await each([pipe_.ask(pack("GET", "a")), pipe_.ask(pack("GET", "b"))])
            await until(lambda: server.connections >= 2)
            assert len(server.seen) <= 2
            await shut([pipe_])

    on_a_loop(run())


def test_a_command_that_was_given_up_keeps_its_place(on_a_loop):
    async def run() -> None:
        async with Fake(slow) as server:
            pipe_ = server.pipe()
            first = pipe_.ask(pack("GET", "first"))
            await asyncio.sleep(0.05)
            first.cancel()
            second = pipe_.ask(pack("GET", "second"))
            assert await second == b"second"
            await shut([pipe_])

    on_a_loop(run())


def test_replies_may_come_in_pieces(on_a_loop):
    async def run() -> None:
        async with Fake(torn) as server:
            pipe_ = server.pipe()
            replies = await each([pipe_.ask(pack("GET", f"value-{number}")) for number in range(50)])
            assert replies == [[f"value-{number}".encode(), 7] for number in range(50)]
            await shut([pipe_])

    on_a_loop(run())


def test_nobody_waits_while_redis_is_away_and_its_return_is_noticed(on_a_loop, redis_db, settings, tmp_path, caplog):
    async def run() -> None:
        loop = asyncio.get_running_loop()
        link = Link(f"unix://{tmp_path}/redis.sock")
        with pytest.raises(StoreUnavailable):
            await link.ask("", command("PING"))
        began = loop.time()
        for _ in range(100):
            with pytest.raises(StoreUnavailable):
                await link.ask("", command("PING"))
        assert loop.time() - began < GENEROUS_SECONDS / 2  # one that waits takes twice as long
        with redis_server(tmp_path):
            for _ in range(100):
                with suppress(StoreUnavailable):
                    assert await link.ask("", command("ECHO", "back")) == b"back"
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("it was not noticed within 5 s")
        await link.close()

    on_a_loop(run())


def test_a_password_and_a_database_are_used(on_a_loop, tmp_path):
    async def run(url: str) -> object:
        link = Link(url)
        try:
            return await link.ask("", command("CLIENT", "INFO"))
        finally:
            await link.close()

    with redis_server(tmp_path, more=("--user", "gate", "on", ">s3cret", "~*", "&*", "+@all")) as path:
        info = on_a_loop(run(f"unix://gate:s3cret@{path}?db=3"))
        assert b" db=3 " in info
        assert b"user=gate" in info
        with pytest.raises(StoreUnavailable):
            on_a_loop(run(f"unix://gate:wrong@{path}?db=3"))
