"""How a pipe connects, keeps a quiet connection alive, and tells why it has none."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from redis.exceptions import RedisError

from store import clients, dial, keepalive, pipe
from store.address import read_address
from store.clients import StoreUnavailable
from store.commands import command, pack
from store.dial import to_host
from store.link import Link
from store.pipe import NAME, Pipe, shut
from tests.servers import free_port, redis_server, until
from tests.store.test_pipe import ECHO, Fake
from tests.tcp_proxy import proxy


async def answer(pipe_: Pipe, command: bytes, seconds: float = 10) -> object:
    """Redis's answer, once the pipe is connected."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await pipe_.ask(command)
            except StoreUnavailable:
                await asyncio.sleep(0.01)


async def echo(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    writer.write(b"$%d\r\n%b\r\n" % (len(command[-1]), command[-1]))


async def refuse_names(command: list[bytes], writer: asyncio.StreamWriter) -> None:
    if command[0] == b"CLIENT":
        writer.write(b"-NOPERM User gate has no permissions to run the 'client|setname' command\r\n")
    else:
        await echo(command, writer)


def test_pauses_between_vain_attempts_grow_and_never_exceed_a_second(on_a_loop, monkeypatch):
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def run() -> None:
        enough = asyncio.Event()

        async def connect(factory):
            if len(pauses) >= 12:
                enough.set()
            raise OSError("nobody listens")

        monkeypatch.setattr(asyncio, "sleep", note)
        pipe_ = Pipe(connect, [])
        pipe_.open()
        await enough.wait()
        monkeypatch.undo()
        await shut([pipe_])

    on_a_loop(run())
    assert pauses[:3] == [0.025, 0.05, 0.1]
    assert max(pauses) == 1.0


def test_a_command_that_was_given_up_before_it_was_sent_never_reaches_redis(on_a_loop):
    async def run() -> None:
        async with Fake(echo) as server:
            pipe_ = server.pipe()
            assert await pipe_.ask(pack("GET", "before")) == b"before"
            pipe_.ask(pack("GET", "given up")).cancel()
            assert await pipe_.ask(pack("GET", "after")) == b"after"
            assert [command[1] for command in server.seen] == [b"before", b"after"]
            await shut([pipe_])

    on_a_loop(run())


def test_after_a_readonly_answer_the_next_command_goes_through_a_new_connection(on_a_loop, tmp_path):
    async def run(path) -> None:
        link = Link(f"unix://{path}")
        first = await link.ask("", command("CLIENT", "ID"))
        await link.ask("", command("REPLICAOF", "127.0.0.1", 1))
        with pytest.raises(StoreUnavailable):
            await link.ask("", command("SET", "a", "b"))
        assert await answer(link._pipe, pack("CLIENT", "ID")) != first
        await link.close()

    with redis_server(tmp_path) as path:
        on_a_loop(run(path))


def test_a_name_that_may_not_be_set_keeps_nobody_out(on_a_loop):
    async def run() -> None:
        async with Fake(refuse_names) as server:
            pipe_ = Pipe(to_host("127.0.0.1", server.port), [NAME])
            assert await pipe_.ask(pack("GET", "a")) == b"a"
            await shut([pipe_])

    on_a_loop(run())


def test_while_connecting_takes_longer_than_a_decision_nobody_waits_for_it(on_a_loop, real_deadlines):
    async def run() -> None:
        loop, may_connect = asyncio.get_running_loop(), asyncio.Event()
        async with Fake(echo) as server:

            async def connect(factory):
                await may_connect.wait()
                return await loop.create_connection(factory, "127.0.0.1", server.port)

            pipe_ = Pipe(connect, [], 60)
            with pytest.raises(StoreUnavailable):
                await pipe_.ask(pack("GET", "first"))
            with pytest.raises(StoreUnavailable):
                pipe_.ask(pack("GET", "second"))  # at once: it raises, and there is nothing to wait for
            assert pipe_.trouble == "still connecting"
            may_connect.set()
            assert await answer(pipe_, pack("GET", "third")) == b"third"
            assert not pipe_.trouble
            await shut([pipe_])

    on_a_loop(run())


def test_a_network_that_takes_250_ms_to_begin_is_waited_for(on_a_loop, redis_socket, tmp_path):
    async def run(port: int) -> None:
        with proxy(port, seconds=0.25) as slow:
            link = Link(f"redis://127.0.0.1:{slow.port}")
            assert await answer(link._pipe, pack("ECHO", "there")) == b"there"
            assert slow.accepted == 1
            await link.close()

    port = free_port()
    with redis_server(tmp_path, port=port):
        on_a_loop(run(port))


def test_the_time_to_connect_is_a_setting(on_a_loop, settings, tmp_path):
    settings.REDIS_CONNECT_SECONDS = 0.1

    async def run(port: int) -> None:
        with proxy(port, seconds=60) as stuck:
            link = Link(f"redis://127.0.0.1:{stuck.port}")
            link.open()
            await until(lambda: stuck.accepted >= 2)
            assert link.trouble == "no answer within 0.1 s"
            await link.close()

    port = free_port()
    with redis_server(tmp_path, port=port):
        on_a_loop(run(port))


@pytest.fixture
def addresses(monkeypatch):
    """A name has these addresses: `addresses(port, …)` on 127.0.0.1."""

    def give(*ports: int) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        async def getaddrinfo(self, host, port, **_):
            if host == "redis.test":
                return found
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)

    return give


@pytest.mark.parametrize("first", ["nobody listens", "accepts and never answers", "answers, and is no redis"])
def test_of_a_name_with_several_addresses_all_are_tried(on_a_loop, addresses, first):
    async def babble(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def run() -> None:
        async with Fake(echo) as server:
            other = await asyncio.start_server(babble, "127.0.0.1", 0)
            with socket.create_server(("127.0.0.1", 0)) as silent:
                ports = {
                    "nobody listens": free_port(),
                    "accepts and never answers": silent.getsockname()[1],
                    "answers, and is no redis": other.sockets[0].getsockname()[1],
                }
                addresses(ports[first], ports[first], server.port)
                pipe_ = Pipe(to_host("redis.test", 1), [])
                assert await answer(pipe_, pack("GET", "found")) == b"found"
                assert server.connections == 1  # within the first attempt, not by luck in a later one
                await shut([pipe_])
            other.close()

    on_a_loop(run())


V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ([], []),
        ([(V4, 1), (V4, 2)], [(V4, 1), (V4, 2)]),
        ([(V6, 1), (V6, 2), (V4, 1), (V4, 2)], [(V6, 1), (V4, 1), (V6, 2), (V4, 2)]),
        ([(V4, 1), (V6, 1), (V6, 2), (V6, 3)], [(V4, 1), (V6, 1), (V6, 2), (V6, 3)]),
        ([(V6, 1), (V6, 1), (V4, 1), (V6, 1)], [(V6, 1), (V4, 1)]),
    ],
)
def test_families_of_addresses_take_turns_in_the_order_of_the_system(found, order):
    assert dial._mixed(found) == order


def test_if_no_address_connects_the_first_failure_is_told(on_a_loop):
    async def fail(why: str):
        raise OSError(why)

    attempts = [lambda why=why: fail(why) for why in ("first", "second", "third")]
    with pytest.raises(OSError, match="first"):
        on_a_loop(dial.first_of(attempts, 0.0))
    with pytest.raises(OSError, match="no address"):
        on_a_loop(dial.first_of([], 0.0))


@pytest.mark.parametrize("tls", [None, ssl.create_default_context()], ids=["plain", "tls"])
def test_a_certificate_has_to_name_the_host_and_not_its_address(on_a_loop, addresses, monkeypatch, tls):
    asked: list[tuple[object, ...]] = []

    async def create_connection(self, factory, host, port, *, ssl, server_hostname):
        asked.append((host, port, ssl, server_hostname))
        raise OSError("refused")

    async def run() -> None:
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", create_connection)
        with pytest.raises(OSError, match="refused"):
            await to_host("redis.test", 1, tls)(lambda: pytest.fail("nothing is connected"))

    addresses(7)
    on_a_loop(run())
    assert asked == [("127.0.0.1", 7, tls, "redis.test" if tls else None)]


def test_redis_py_sends_no_command_of_a_gate_twice(on_a_loop):
    """It may have been executed."""

    async def hang_up(command: list[bytes], writer: asyncio.StreamWriter) -> None:
        if command[0] == b"INCR":
            writer.close()
        else:
            writer.write(b"+OK\r\n")

    async def run() -> None:
        async with Fake(hang_up) as server:
            client = clients.async_client(read_address(f"redis://127.0.0.1:{server.port}"), 20.0, 20.0)
            with pytest.raises(RedisError):
                await client.execute_command("INCR", "a")
            await client.aclose()
            assert [command for command in server.seen if command[0] == b"INCR"] == [[b"INCR", b"a"]]

    on_a_loop(run())


def test_the_slower_connection_is_closed(on_a_loop):
    class Ended:
        closed = 0

        def close(self) -> None:
            Ended.closed += 1

    async def run() -> None:
        both = asyncio.Event()

        async def attempt():
            both.set() if both_began.pop() else None
            await both.wait()
            return None, Ended()

        both_began = [True, False]
        await dial.first_of([attempt, attempt], 0.0)

    on_a_loop(run())
    assert Ended.closed == 1


@pytest.mark.skipif(not keepalive.OPTIONS, reason="this platform has no options for keepalive")
def test_the_kernel_probes_a_quiet_connection(on_a_loop):
    async def run() -> None:
        async with Fake(echo) as server:
            pipe_ = Pipe(to_host("127.0.0.1", server.port), [])
            await pipe_.ask(pack("GET", "a"))
            assert pipe_._connection is not None and pipe_._connection.transport is not None
            connected = pipe_._connection.transport.get_extra_info("socket")
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for option, value in keepalive.OPTIONS.items():
                assert connected.getsockopt(socket.IPPROTO_TCP, option) == value
            await shut([pipe_])

    on_a_loop(run())


def test_a_pipe_pings_within_a_minute_of_quiet():
    assert keepalive.PING_SECONDS < 60


def test_a_network_that_forgets_a_quiet_connection_is_noticed_before_a_decision_needs_it(
    on_a_loop, real_deadlines, monkeypatch, tmp_path
):
    monkeypatch.setattr(pipe, "PING_SECONDS", 0.05)

    async def run(port: int) -> None:
        with proxy(port) as network:
            link = Link(f"redis://127.0.0.1:{network.port}")
            first = await answer(link._pipe, pack("CLIENT", "ID"))
            network.forget()
            await until(lambda: network.accepted >= 2 and not link._pipe.is_broken)  # nobody asks meanwhile
            assert await answer(link._pipe, pack("CLIENT", "ID")) != first
            await link.close()

    port = free_port()
    with redis_server(tmp_path, port=port):
        on_a_loop(run(port))


def test_a_busy_pipe_sends_no_ping_and_keeps_one_timer(on_a_loop, monkeypatch):
    async def run() -> None:
        timers: list[float] = []
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def watch(seconds, callback, *args, **kwargs):
            if callback == pipe_._keep_alive:
                timers.append(seconds)
            return call_later(seconds, callback, *args, **kwargs)

        async with Fake(echo) as server:
            pipe_ = server.pipe()
            monkeypatch.setattr(loop, "call_later", watch)
            for _ in range(100):
                await pipe_.ask(pack("GET", "a"))
            assert timers == [keepalive.PING_SECONDS]
            monkeypatch.undo()
            await shut([pipe_])

    on_a_loop(run())


def test_why_a_pipe_has_no_connection_is_known(on_a_loop, tmp_path):
    async def run(path) -> str:
        link = Link(f"unix://gate:wrong@{path}")
        with pytest.raises(StoreUnavailable):
            await link.ask("", command("PING"))
        trouble = link.trouble
        await link.close()
        return trouble

    with redis_server(tmp_path, more=("--user", "gate", "on", ">s3cret", "~*", "&*", "+@all")) as path:
        assert "WRONGPASS" in on_a_loop(run(path))


def test_a_connection_that_may_not_sign_in_is_closed(on_a_loop):
    async def refuse(command: list[bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(b"-WRONGPASS invalid username-password pair\r\n")

    async def run() -> None:
        made: list[pipe._Connection] = []
        async with Fake(refuse) as server:

            async def connect(factory):
                transport, connection = await asyncio.get_running_loop().create_connection(
                    factory, "127.0.0.1", server.port
                )
                made.append(connection)
                return transport, connection

            pipe_ = Pipe(connect, [pack("AUTH", "wrong")])
            pipe_.open()
            await until(lambda: len(made) >= 2)
            assert made[0].transport is None
            await shut([pipe_])
            assert all(connection.transport is None for connection in made)

    on_a_loop(run())


def test_why_a_connection_was_dropped_is_known_until_there_is_another(on_a_loop):
    async def run() -> None:
        async with Fake(echo) as server:
            pipe_ = server.pipe()
            assert await pipe_.ask(pack("GET", "a")) == b"a"
            pipe_.drop("redis is read-only")
            assert (pipe_.trouble, pipe_.is_broken) == ("redis is read-only", True)
            assert await answer(pipe_, pack("GET", "b")) == b"b"
            assert (pipe_.trouble, pipe_.is_broken) == ("", False)
            await shut([pipe_])

    on_a_loop(run())


def test_a_script_is_run_where_loading_one_is_forbidden(on_a_loop, tmp_path):
    async def run(path) -> None:
        link = Link(f"unix://gate:s3cret@{path}")
        assert (await link.ask("", ECHO.call(["a"], [1])))[2] == 1
        assert (await link.ask("", ECHO.call(["a"], [1])))[2] == 2
        await link.close()

    rights = ("~*", "&*", "+@all", "-script")
    with redis_server(tmp_path, more=("--user", "gate", "on", ">s3cret", *rights)) as path:
        on_a_loop(run(path))
