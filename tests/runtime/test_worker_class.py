"""gunicorn with our worker class and configuration, tested over raw sockets."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from uvicorn.config import Config

from runtime import health
from runtime.protocol import GateProtocol, State, has_unread_bytes
from runtime.worker_class import waiting_on
from store.clients import sync_client
from store.condition import read_condition, wrong_policies
from tests.runtime import worker_app
from tests.runtime.worker_app import HastyProtocol
from tests.servers import ROOT, free_port, redis_server, wait_until

pytestmark = pytest.mark.slow

HASTY = "tests.runtime.worker_app.HastyWorker"


# A client without retries or a pool, which hides nothing.


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_last(self):
        return self.headers.get("connection") == "close"

    @property
    def pid(self):
        return int(self.body.split()[1])


class Connection:
    """One connection. An end or reset instead of an answer is a ConnectionError."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, path="/"):
        self.send(request(path))
        return self.read()

    def read(self):
        while b"\r\n\r\n" not in self.buffer:
            self._receive()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in lines)
        size = int(headers["content-length"])
        while len(self.buffer) < size:
            self._receive()
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return Answer(int(line.split()[1]), headers, body)

    def _receive(self):
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionResetError("closed in place of an answer")
        self.buffer += data

    def seconds_until_closed(self):
        begin = time.monotonic()
        assert self.socket.recv(1) == b""
        return time.monotonic() - begin


@contextmanager
def connections(port, number):
    with ExitStack() as stack:
        yield [stack.enter_context(Connection(port)) for _ in range(number)]


def request(path="/", *headers):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: gate", *headers, "", ""]).encode()


def head_of(size):
    """A request whose head has exactly this many bytes."""
    lines = [f"X-{i}: {'x' * 1000}" for i in range(size // 1100)]
    return request("/", *lines, "X: " + "x" * (size - len(request("/", *lines, "X: "))))


# A replica.


def until(fact):
    wait_until(fact, "what the test waits for")


@dataclass
class Replica:
    master: subprocess.Popen[bytes]
    port: int
    admin_port: int
    log: Path
    workers: int

    def ask(self, path="/"):
        with Connection(self.port) as connection:
            return connection.ask(path)

    def health(self, path):
        with Connection(self.admin_port) as connection:
            return connection.ask(path)

    def metric(self, name):
        lines = self.health("/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))

    def reload(self):
        """HUP, until the new workers have taken over and the old ones are gone."""
        finished = self.log.read_text().count("Finished server process")
        serving = self.log.read_text().count("startup complete")
        self.master.send_signal(signal.SIGHUP)
        until(lambda: self.log.read_text().count("startup complete") >= serving + self.workers)
        until(lambda: self.log.read_text().count("Finished server process") >= finished + self.workers)

    def stop(self):
        self.master.send_signal(signal.SIGTERM)
        return self.master.wait(15)


@contextmanager
def running(log, *, worker=HASTY, workers=2, admin=False, **environment):
    port, admin_port = free_port(), free_port()
    command = ["-c", "deploy/gunicorn.conf.py", "-k", worker, "--log-file", str(log), "tests.runtime.worker_app:app"]
    environment = {
        **os.environ,
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "authsvc.settings",
        "BIND": f"127.0.0.1:{port}",
        "ADMIN_BIND": f"localhost:{admin_port}" if admin else "",
        "WEB_CONCURRENCY": str(workers),
        "AUTHSVC_DRAIN": "0",
        **{name: str(value) for name, value in environment.items()},
    }
    master = subprocess.Popen([sys.executable, "-m", "gunicorn", *command], cwd=ROOT, env=environment)
    try:
        until(
            lambda: master.poll() is not None or (log.exists() and log.read_text().count("startup complete") >= workers)
        )
        assert master.poll() is None, log.read_text()
        yield Replica(master, port, admin_port, log, workers)
    finally:
        if master.poll() is None:
            master.send_signal(signal.SIGQUIT)
            master.wait(20)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A replica that no test stops or reloads."""
    with running(tmp_path_factory.mktemp("hasty") / "log", admin=True) as replica:
        yield replica


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def gate(hasty):
    with Connection(hasty.port) as connection:
        yield connection


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A separate store, because the test changes its policy."""
    with redis_server(tmp_path_factory.mktemp("store")) as path:
        yield f"unix://{path}"


# Request heads


@pytest.mark.parametrize("size", [2_000, 20_000, 65_536])
def test_a_head_of_up_to_64_kilobytes_is_read(gate, size):
    gate.send(head_of(size))
    assert gate.read().status == 200


@pytest.mark.parametrize("size", [65_537, 300_000])
def test_a_longer_head_is_refused_and_the_connection_closed(gate, size):
    gate.send(head_of(size))
    answer = gate.read()
    assert (answer.status, answer.is_last) == (431, True)
    assert gate.seconds_until_closed() < 2


def test_a_long_head_is_refused_however_it_is_cut(gate):
    head = head_of(65_537)
    for start in range(0, len(head), 999):
        gate.send(head[start : start + 999])
        time.sleep(0.0005)
    assert gate.read().status == 431


def test_the_limit_counts_each_head_alone(gate):
    gate.ask("/")
    gate.send(head_of(60_000) * 3)
    assert [gate.read().status for _ in range(3)] == [200, 200, 200]


def test_a_long_body_does_not_count_as_a_long_head(gate):
    gate.send(request("/", "Content-Length: 200000") + b"x" * 200_000)
    assert gate.read().status == 200
    assert gate.ask().status == 200


def test_what_came_before_a_refused_head_is_answered(gate):
    gate.send(request("/before?200") + head_of(100_000))
    answer = gate.read()
    assert (answer.status, answer.is_last) == (200, True)
    assert gate.seconds_until_closed() < 2


def test_a_slow_head_is_refused(gate):
    gate.ask()
    gate.send(b"GET / HT")
    answer = gate.read()
    assert (answer.status, answer.is_last) == (408, True)


def test_a_head_in_two_packets_after_a_quiet_time_is_answered():
    """A head's time counts from its own first byte, not from the last answer."""

    async def talk():
        protocol, client = await served()
        await ask(client, request("/first"))
        protocol.since -= 10 * GateProtocol.HEAD_SECONDS  # it has been idle this long
        head = request("/second")
        await asyncio.get_running_loop().sock_sendall(client, head[:10])
        await turns_until(lambda: protocol.open_head)
        protocol.server_state.now = time.monotonic()
        protocol.sweep()
        answered = await ask(client, head[10:])
        protocol.transport.close()
        client.close()
        await asyncio.sleep(0)  # the transport closes in the next turn
        return answered

    assert b"200 OK" in asyncio.run(asyncio.wait_for(talk(), 30))


async def served():
    """A connection on this loop: the server's side of it, and the client's."""
    ours, theirs = socket.socketpair()
    config = Config(worker_app.app, http=GateProtocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    protocol = GateProtocol(config=config, server_state=State(), app_state={})
    await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, ours)
    theirs.setblocking(False)
    return protocol, theirs


async def ask(client, data):
    await asyncio.get_running_loop().sock_sendall(client, data)
    return await asyncio.get_running_loop().sock_recv(client, 65_536)


async def turns_until(fact):
    while not fact():  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)


def test_a_trickle_does_not_keep_a_slow_head_alive(gate):
    begin = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() - begin < 3:
            gate.send(b"GET / HTTP/1.1\r\n" if time.monotonic() - begin < 0.01 else b"x")
            time.sleep(0.05)
    assert time.monotonic() - begin < 2


def test_a_slow_answer_does_not_count_as_a_slow_head(gate):
    assert gate.ask("/?400").status == 200


def test_an_unused_connection_is_closed(gate):
    assert 0.3 < gate.seconds_until_closed() < 2


def test_empty_lines_do_not_count_as_use(gate):
    gate.send(b"\r\n")
    time.sleep(0.3)
    gate.send(b"\r\n")
    assert gate.seconds_until_closed() < 1.5


def test_a_used_connection_outlives_the_timeout_of_unused_ones(gate):
    gate.ask()
    time.sleep(0.6)
    assert gate.ask().status == 200


def test_pipelined_requests_are_answered_in_order(gate):
    gate.send(request("/1?50") + request("/2") + request("/3?20"))
    assert [gate.read().body.split()[0] for _ in range(3)] == [b"/1", b"/2", b"/3"]


def test_answers_carry_nothing_but_the_applications_own(gate):
    assert gate.ask().headers.keys() == {"content-length"}


def test_the_limits_in_service_are_the_documented_ones():
    limits = GateProtocol.HEAD_BYTES, GateProtocol.HEAD_SECONDS, GateProtocol.UNUSED_SECONDS
    assert limits == (65_536, 10, 100)


# Reload and stop


@dataclass
class Load:
    """Three kinds of clients. Each counts an end instead of an answer as a lost request."""

    port: int
    answered: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self):
        kinds = [self.keep_alive] * 3 + [self.fresh] * 3 + [self.late] * 10
        self.threads = [threading.Thread(target=self.repeat, args=[kind]) for kind in kinds]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, kind):
        while not self.over.is_set():
            try:
                kind()
            except OSError as error:
                self.lost.append(f"{kind.__name__}: {error!r}")

    def ask(self, kind, connection):
        answer = connection.ask(random.choice(["/?1", "/direct?1", "/direct"]))
        assert answer.status == 200
        self.answered[kind] += 1
        return answer

    def keep_alive(self):
        """Like Traefik's two idle connections: reused until told otherwise."""
        with Connection(self.port) as connection:
            while not self.over.is_set() and not self.ask("keep-alive", connection).is_last:
                time.sleep(random.uniform(0, 0.01))

    def fresh(self):
        """Like Traefik with more than two calls at a time."""
        with Connection(self.port) as connection:
            self.ask("fresh", connection)
        time.sleep(0.001)

    def late(self):
        """Send a request only after being accepted: stock workers lose these."""
        with Connection(self.port) as connection:
            time.sleep(random.uniform(0, 0.1))
            self.ask("late", connection)


def test_reloads_under_load_lose_no_request(log):
    with running(log) as replica:
        with Load(replica.port) as load:
            for _ in range(3):
                replica.reload()
        assert replica.stop() == 0
    assert load.lost == []
    assert sum(load.answered.values()) > 1_000 and len(load.answered) == 3


def test_old_workers_serve_until_new_ones_can(log):
    with running(log, BOOT_SECONDS=0.5) as replica:
        old = {replica.ask().pid for _ in range(50)}
        replica.master.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert replica.ask().pid in old
        until(lambda: "Finished server process" in log.read_text())
        assert replica.ask().pid not in old


def test_a_stop_turns_readiness_off_serves_on_and_loses_no_request(log, store):
    with running(log, admin=True, AUTHSVC_DRAIN=0.8, REDIS_URL=store) as replica:
        assert replica.health("/readyz").status == 200
        with Load(replica.port) as load:
            time.sleep(0.1)
            begin = time.monotonic()
            replica.master.send_signal(signal.SIGTERM)
            until(lambda: replica.health("/readyz").status == 503)
            assert time.monotonic() - begin < 0.5
            assert "stopping" in replica.health("/readyz").body.decode()
            assert (replica.health("/livez").status, replica.ask().status) == (200, 200)
            time.sleep(0.3)
        assert load.lost == [] and sum(load.answered.values()) > 100
        assert replica.master.wait(10) == 0
        assert 0.8 < time.monotonic() - begin < 4


@pytest.mark.parametrize("path", ["/", "/direct"])
def test_late_requests_are_answered_with_connection_close(log, path):
    with running(log, workers=1) as replica, connections(replica.port, 3) as (idle, unused, busy):
        idle.ask(path)
        busy.send(request(f"{path}?400"))
        replica.master.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        busy.send(request(path))  # pipelined, so the answer before it is not the last
        answers = [idle.ask(path), unused.ask(path), busy.read(), busy.read()]
        assert [answer.is_last for answer in answers] == [True, True, False, True]
        with pytest.raises(ConnectionRefusedError):  # not accepted by the kernel on behalf of no one
            Connection(replica.port)
        assert replica.master.wait(10) == 0


def test_what_waits_in_the_backlog_at_the_end_is_answered(log):
    with running(log, workers=1) as replica, Connection(replica.port) as blocking:
        blocking.send(request("/block?400"))
        time.sleep(0.1)
        replica.master.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with connections(replica.port, 30) as waiting:
            assert [connection.ask().status for connection in waiting] == [200] * 30
        assert replica.master.wait(10) == 0


def test_a_stop_sent_to_the_whole_process_group_drains_too(log):
    with running(log, AUTHSVC_DRAIN=0.5) as replica:
        begin = time.monotonic()
        for pid in {replica.ask().pid for _ in range(30)}:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)
        assert replica.stop() == 0
        assert time.monotonic() - begin > 0.5 + HastyProtocol.LINGER_SECONDS


def test_workers_end_with_their_master(log):
    with running(log, workers=1) as replica:
        pid = replica.ask().pid
        replica.master.kill()
        until(lambda: not is_running(pid))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_an_interrupt_cuts_the_drain_short_but_no_request(log):
    with running(log, workers=1, AUTHSVC_DRAIN=10) as replica, Connection(replica.port) as busy:
        begin = time.monotonic()
        busy.send(request("/?700"))
        replica.master.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        replica.master.send_signal(signal.SIGINT)
        assert busy.read().status == 200
        assert replica.master.wait(10) == 0
        assert time.monotonic() - begin < 2.5 and "Finished server process" in log.read_text()


def test_a_request_is_seen_before_the_loop_has_read_it():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport: Any = SimpleNamespace(get_extra_info=lambda _: ours)
        assert not has_unread_bytes(transport)
        theirs.send(request())
        assert has_unread_bytes(transport)


def test_waiting_connections_are_taken_without_waiting_for_more():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        taken = list(waiting_on(listener))
        assert len(taken) == 3
        for each in clients + taken:
            each.close()


# Errors on reload and at start


@pytest.fixture
def changeable(tmp_path):
    """Settings that a test may break while the replica runs."""
    secret, bind = tmp_path / "SECRET_KEY", tmp_path / "BIND"
    secret.write_text("s" * 40)
    bind.write_text(f"127.0.0.1:{free_port()}")
    return SimpleNamespace(
        secret=secret,
        bind=bind,
        environment={"SECRET_KEY_FILE": secret, "BIND_FILE": bind, "BIND": "", "SECRET_KEY": ""},
    )


def hang_up(replica, why):
    replica.master.send_signal(signal.SIGHUP)
    until(lambda: why in replica.log.read_text())


@contextmanager
def running_with(changeable, log):
    port = int(changeable.bind.read_text().rpartition(":")[2])
    with running(log, **changeable.environment) as replica:
        replica.port = port
        yield replica


def test_a_reload_with_a_broken_setting_keeps_the_old_workers_and_says_why(log, changeable):
    with running_with(changeable, log) as replica, Load(replica.port) as load:
        old = {replica.ask().pid for _ in range(50)}
        changeable.secret.write_text("short")
        hang_up(
            replica,
            "Not reloaded; the current workers keep running: SECRET_KEY has 5 characters; it needs at least 32.",
        )
        changeable.secret.write_text("n" * 40)
        bind = changeable.bind.read_text()
        changeable.bind.write_text("nonsense")
        hang_up(replica, "keep running: BIND='nonsense' is not an address to listen on")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            changeable.bind.write_text(f"127.0.0.1:{taken.getsockname()[1]}")
            hang_up(replica, "keep running: BIND or ADMIN_BIND: cannot listen on ")
        changeable.bind.write_text(bind)
        assert replica.master.poll() is None
        assert {replica.ask().pid for _ in range(50)} <= old
        replica.reload()
        assert not {replica.ask().pid for _ in range(50)} & old
    assert load.lost == []
    assert "Traceback" not in log.read_text()


def test_workers_that_cannot_start_after_a_reload_are_not_started_without_end(log, changeable, tmp_path):
    faulty = tmp_path / "faulty"
    with running(log, workers=1, **changeable.environment, FAULTY=faulty) as replica:
        faulty.touch()  # only a listening worker finds it; no check does
        replica.master.send_signal(signal.SIGHUP)
        assert replica.master.wait(60) == 1
    said = log.read_text()
    assert said.count("This worker could not start: the application did not start") < 10
    assert "No worker could start; see the lines above." in said


def test_a_replica_whose_first_worker_cannot_start_ends_at_once(log, tmp_path):
    faulty = tmp_path / "faulty"
    faulty.touch()
    with pytest.raises(AssertionError, match="No worker could start"), running(log, workers=1, FAULTY=faulty):
        pass


# Health and metrics


def test_decisions_are_counted_over_the_death_of_workers(log):
    with running(log, admin=True) as replica:
        pids = [replica.ask().pid for _ in range(40)]
        assert replica.metric("authsvc_decisions_total") == 40
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: replica.metric("authsvc_worker_starts_total") == 3)
        until(lambda: replica.metric("authsvc_workers_serving") == 2)
        replica.ask()
        assert replica.metric("authsvc_decisions_total") == 41


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [("GET", "/livez", 200, b"alive\n"), ("GET", "/", 404, b"not found\n"), ("POST", "/livez", 405, b"GET or HEAD\n")],
)
def test_the_admin_listener_knows_its_pages(hasty, method, path, status, body):
    with Connection(hasty.admin_port) as connection:
        connection.send(request(path).replace(b"GET", method.encode(), 1))
        answer = connection.read()
        assert (answer.status, answer.body) == (status, body)


def test_the_gates_listener_does_not_answer_for_the_admin_listener(hasty):
    assert hasty.ask("/metrics").body.startswith(b"/metrics ")


@pytest.mark.parametrize("form", [":{0}", "127.0.0.1:{0},[::1]:{1}", "[::1]:{1}, localhost:{0}"])
def test_the_admin_listener_answers_at_each_of_its_addresses(log, form):
    ports = free_port(), free_port()
    with running(log, workers=1, ADMIN_BIND=form.format(*ports)) as replica:
        replica.admin_port = ports[0]
        assert (replica.health("/livez").body, replica.ask("/livez").body[:6]) == (b"alive\n", b"/livez")
        if "::1" in form:
            with socket.create_connection(("::1", ports[1]), timeout=10) as other:
                other.sendall(request("/livez"))
                assert b"text/plain" in other.recv(65_536)  # the application's own answers have no type


@pytest.fixture
def ready(settings, store):
    """Ask /readyz in this process, of the store at `url`."""

    def ask(url=store, when_down="deny"):
        settings.REDIS_URL, settings.WHEN_REDIS_IS_DOWN = url, when_down
        sync_client.cache_clear()
        page = asyncio.run(health.find_page("GET", "/readyz"))
        return page.status, json.loads(page.body)["reasons"]

    yield ask
    sync_client.cache_clear()


def test_a_replica_with_a_good_store_is_ready(ready):
    assert ready() == (200, [])


def test_a_store_that_evicts_makes_it_unready(ready, store):
    with redis.Redis.from_url(store) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        status, reasons = ready()
        client.config_set("maxmemory-policy", "noeviction")
    assert (status, reasons) == (503, ["the store's maxmemory-policy is allkeys-lru, not noeviction"])


@pytest.mark.parametrize(("when_down", "status"), [("deny", 503), ("allow", 200)])
def test_a_store_that_is_down_makes_it_unready_unless_the_operator_allows(ready, when_down, status):
    answered, reasons = ready(f"redis://127.0.0.1:{free_port()}/0", when_down)
    assert answered == status and "does not answer" in reasons[0]


def test_the_policies_of_all_nodes_of_a_cluster_are_read():
    policies = ("noeviction", "allkeys-lfu", None)
    assert wrong_policies(read_condition({"maxmemory_policy": policy}) for policy in policies) == ["allkeys-lfu"]
