"""When a worker leaves, for how long it serves on, and what its sweep looks at. With gunicorn: test_worker_class.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn.config import Config
from uvicorn_worker import UvicornWorker

from runtime import replica
from runtime.protocol import State
from runtime.worker_class import COULD_NOT_START, GateServer, GateWorker, taken_from, waiting_on


@pytest.fixture
def server(monkeypatch):
    """A worker's server that has not started, at a seat of its own."""
    worker = SimpleNamespace(
        sockets=[],
        ppid=os.getppid(),
        TICK_SECONDS=60.0,
        drain_seconds=5.0,
        admin_names=frozenset(),
        SERVER=GateWorker.SERVER,
        seat=0,
    )
    monkeypatch.setattr(replica, "sit", lambda index: SimpleNamespace(index=index))
    return GateServer(Config("nothing:here", log_config=None), cast(GateWorker, worker))


@pytest.mark.parametrize(
    ("signals", "ends", "hurries", "forces"),
    [
        ([], False, False, False),
        ([signal.SIGTERM], True, False, False),
        ([signal.SIGTERM, signal.SIGTERM], True, False, False),
        ([signal.SIGINT], True, True, False),
        ([signal.SIGQUIT], True, True, False),
        ([signal.SIGTERM, signal.SIGQUIT], True, True, False),
        ([signal.SIGINT, signal.SIGTERM], True, True, False),
        ([signal.SIGINT, signal.SIGINT], True, True, True),
        ([signal.SIGTERM, signal.SIGINT], True, True, True),
    ],
)
def test_a_signal_says_how_soon_a_worker_has_to_end(server, signals, ends, hurries, forces):
    for number in signals:
        server.handle_exit(number)
    assert (server.should_exit, server.in_a_hurry, server.force_exit) == (ends, hurries, forces)


@pytest.mark.parametrize(
    ("draining", "replaced", "successor", "seconds"),
    [
        (True, False, False, 5.0),
        (True, True, True, 5.0),  # the replica's end, whoever has come since
        (False, False, False, GateServer.NOTE_SECONDS),
        (False, False, True, GateServer.NOTE_SECONDS),
        (False, True, False, GateServer.BOOT_SECONDS),
        (False, True, True, 0),
    ],
)
def test_a_worker_serves_on_until_somebody_else_does(server, monkeypatch, draining, replaced, successor, seconds):
    monkeypatch.setattr(replica, "is_draining", lambda: draining)
    monkeypatch.setattr(replica, "was_replaced", lambda seat: replaced)
    monkeypatch.setattr(replica, "successor_serves", lambda seat: successor)
    assert server._time_to_serve_on() == seconds


def test_a_worker_in_a_hurry_serves_on_for_no_time(server, monkeypatch):
    monkeypatch.setattr(server, "_time_to_serve_on", lambda: 3600)
    server.handle_exit(signal.SIGQUIT)
    asyncio.run(asyncio.wait_for(server._serve_on(), 20))


@pytest.mark.parametrize("is_orphan", [False, True])
def test_a_tick_sweeps_every_connection_and_ends_an_orphan(server, is_orphan):
    server.master_pid += is_orphan
    swept: list[int] = []
    connections = [SimpleNamespace(sweep=lambda number=number: swept.append(number)) for number in range(3)]

    async def run() -> Any:
        server.server_state = SimpleNamespace(connections=connections, now=0.0)
        server._tick()
        server.ticking.cancel()
        return server.ticking.when() - asyncio.get_running_loop().time()

    assert 0 < asyncio.run(run()) <= server.tick_seconds
    assert swept == [0, 1, 2] and server.server_state.now > 0
    assert (server.should_exit, server.in_a_hurry) == (is_orphan, is_orphan)


def test_an_error_while_sweeping_does_not_stop_the_ticks(server):
    def fail() -> None:
        raise ZeroDivisionError

    async def run() -> bool:
        server.server_state = SimpleNamespace(connections=[SimpleNamespace(sweep=fail)], now=0.0)
        with pytest.raises(ZeroDivisionError):
            server._tick()
        is_due = not server.ticking.cancelled()
        server.ticking.cancel()
        return is_due

    assert asyncio.run(run())


def test_a_leaving_worker_says_so_and_accepts_what_waits(server, monkeypatch):
    """Connections that the kernel has completed would be reset with the last listener."""
    seen: list[tuple[str, object]] = []

    class Connection:
        def leave(self) -> None:
            seen.append(("leaves", server.server_state.leaving))

    async def run() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        server.listeners, server.servers = (
            [taken_from(listener)],
            [SimpleNamespace(close=lambda: seen.append(("closes", 1)))],
        )
        server.seat = SimpleNamespace(serves=lambda whether: seen.append(("serves", whether)))
        server.server_state, server.lifespan = State(), SimpleNamespace(state={})
        server.server_state.connections = {Connection()}
        accepted: list[socket.socket] = []

        async def accept(make, connection, *, ssl):
            accepted.append(connection)

        monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", accept)
        monkeypatch.setattr(server._protocol_class, "LINGER_SECONDS", 0.0)
        await server._linger()
        assert len(accepted) == 2 and server.listeners[0].fileno() == -1
        for one in (*accepted, *clients):
            one.close()

    server.config.ssl = None  # as in a configuration that is loaded
    server.config.http_protocol_class = type("Protocol", (), {"LINGER_SECONDS": 1.0})
    asyncio.run(run())
    assert seen == [("serves", False), ("closes", 1), ("leaves", True)]


def test_what_waits_on_a_listener_is_accepted_and_then_no_more():
    with taken_from(socket.create_server(("127.0.0.1", 0))) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        accepted = list(waiting_on(listener))
        assert len(accepted) == 3
        assert not any(connection.getblocking() for connection in accepted)
        assert list(waiting_on(listener)) == []
        for one in (*accepted, *clients):
            one.close()


def test_a_worker_adds_no_header_to_answers_and_believes_none_about_the_client():
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    config = Config(application, **GateWorker.CONFIG_KWARGS, log_config=None)
    config.load()
    assert config.encoded_headers == []
    assert config.loaded_app is application


@pytest.mark.parametrize("error", [RuntimeError("no module"), SystemExit("no settings")])
@pytest.mark.parametrize("others_serve", [False, True])
def test_a_worker_that_cannot_start_says_why_and_waits_only_if_others_serve(monkeypatch, error, others_serve):
    told: list[str] = []
    pauses: list[float] = []

    def fail(self) -> None:
        raise error

    monkeypatch.setattr(UvicornWorker, "init_process", fail)
    monkeypatch.setattr(replica, "ever_served", lambda seat: False)
    monkeypatch.setattr(replica, "anybody_served", lambda: others_serve)
    monkeypatch.setattr(time, "sleep", pauses.append)
    worker = object.__new__(GateWorker)
    worker.log = SimpleNamespace(error=lambda words, why, **_: told.append(why))
    with pytest.raises(SystemExit) as end:
        worker.init_process()
    assert end.value.code == COULD_NOT_START
    assert str(error) in told[0]
    assert pauses == ([GateWorker.PAUSE_SECONDS] if others_serve else [])


@pytest.mark.parametrize(
    ("error", "has_served"), [(SystemExit(0), False), (SystemExit(), False), (SystemExit(3), True), (OSError(), True)]
)
def test_an_orderly_end_and_one_after_it_served_are_no_failed_start(monkeypatch, error, has_served):
    def fail(self) -> None:
        raise error

    monkeypatch.setattr(UvicornWorker, "init_process", fail)
    monkeypatch.setattr(replica, "ever_served", lambda seat: has_served)
    with pytest.raises(type(error)) as end:
        object.__new__(GateWorker).init_process()
    assert end.value is error
