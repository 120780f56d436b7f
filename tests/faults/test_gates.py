"""Killed workers, rude clients, and logs that nobody reads: the others are served as before."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import pytest

from tests.faults.house import House
from tests.load.client import Connection
from tests.load.packing import packed
from tests.servers import ROOT, accepts, free_port, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MOST_GROWTH = 50 * 1024 * 1024
CROWD = 300
CATALOGUE_SECONDS = 30


def workers_of(master: subprocess.Popen[bytes]) -> list[int]:
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def stopped(pid: int) -> bool:
    """Whether the process has really stopped: a signal only asks for it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def only(serving: int, workers: list[int]) -> Iterator[None]:
    """While the block runs, all workers but one are stopped, so that it accepts every new connection."""
    others = [pid for pid in workers if pid != serving]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(map(stopped, others)), "the other workers stopped")
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def memory_of(pids: list[int]) -> int:
    return sum(
        int(line.split()[1]) * 1024
        for pid in pids
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )


def test_a_worker_that_is_killed_takes_only_its_own_open_requests_with_it(house: House, pro_key):
    master = house.start_gates()
    house.wait_for(pro_key.text, 200)
    wait_until(lambda: len(workers_of(master)) == 2, "two workers")
    before = workers_of(master)

    async def connect() -> list[Connection]:
        crowd = [Connection(house.port) for _ in range(20)]
        await asyncio.gather(*(connection.judged(packed(pro_key.text)) for connection in crowd))
        return crowd

    async def outcome(connection: Connection) -> str:
        try:
            return str(await connection.judged(packed(pro_key.text)))
        except (OSError, asyncio.IncompleteReadError):
            return "closed"

    async def run() -> list[set[str]]:
        crowds: list[list[Connection]] = []
        for pid in before:
            with only(pid, before):
                crowds.append(await connect())
        os.kill(before[0], signal.SIGKILL)
        outcomes = [{await outcome(connection) for connection in crowd} for crowd in crowds]
        for connection in chain(*crowds):
            await connection.close()
        return outcomes

    of_the_killed, of_the_other = asyncio.run(run())
    assert of_the_killed == {"closed"}
    assert of_the_other <= {"200", "429"}
    wait_until(lambda: len(set(workers_of(master)) - set(before)) == 1, "another worker", seconds=60)
    house.wait_for(pro_key.text, 200)


RUDE = {
    "idle": b"",
    "slow heads": b"GET /auth/ HTTP/1.1\r\nHost: gate\r\nX-",
    "slow bodies": b"POST /auth/ HTTP/1.1\r\nHost: gate\r\nContent-Length: 1000000\r\n\r\n0123456789",
    "long heads": b"GET /auth/ HTTP/1.1\r\nHost: gate\r\nX-Long: " + b"x" * 100_000,
    "garbage": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("rude", RUDE.values(), ids=RUDE.keys())
def test_rude_clients_disturb_nobody(house: House, pro_key, rude: bytes):
    master = house.start_gates()
    house.wait_for(pro_key.text, 200)
    wait_until(lambda: len(workers_of(master)) == 2, "two workers")
    for _ in range(20):
        house.ask(pro_key.text)
    before = memory_of(workers_of(master))
    with ExitStack() as crowd:
        for _ in range(CROWD):
            client = crowd.enter_context(socket.create_connection(("127.0.0.1", house.port), timeout=10))
            client.setblocking(False)
            try:
                client.send(rude)
            except (BlockingIOError, ConnectionError):
                pass  # refused already, or it reads no more
        statuses = house.statuses(pro_key.text, 50)
        grown = memory_of(workers_of(master)) - before
    assert set(statuses) <= {200, 429} and statuses[200] > 0
    assert grown <= MOST_GROWTH
    house.wait_for(pro_key.text, 200)


@pytest.mark.parametrize("output", ["nobody reads", "full disk"])
def test_a_log_that_takes_nothing_delays_no_decision(house: House, pro_key, output: str, tmp_path):
    port = free_port()
    env = os.environ | house.env | {"AUTHSVC_LOG_DECISIONS": "all", "WEB_CONCURRENCY": "1"}
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    command += ["-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
    read, write = os.pipe() if output == "nobody reads" else (None, os.open("/dev/full", os.O_WRONLY))
    if read is not None:
        os.set_blocking(write, False)
        try:
            while True:  # full before the first line
                os.write(write, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(write, True)
    with (tmp_path / "errors.log").open("wb") as errors:
        gate = subprocess.Popen(command, cwd=ROOT, env=env, stdout=write, stderr=errors, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port), "the gate listening", seconds=60)
        house.port = port
        house.wait_for(pro_key.text, 200)
        refused = house.statuses("no key of ours", 300)
        assert refused == {401: 300}
        assert house.statuses(pro_key.text, 5)[503] == 0
    finally:
        gate.kill()
        gate.wait()
        for end in (read, write):
            if end is not None:
                os.close(end)
