"""Killed workers, rude clients, and logs that nobody reads: the others are served as before."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, suppress
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


def sockets_of(pid: int) -> int:
    found = 0
    for number in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += str(number.readlink()).startswith("socket:")
    return found


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

    async def run() -> Counter[str]:
        connections: list[Connection] = []
        idle = {pid: sockets_of(pid) for pid in before}
        while len(connections) < 400 and not all(sockets_of(pid) > idle[pid] for pid in before):
            crowd = [Connection(house.port) for _ in range(20)]
            await asyncio.gather(*(connection.judged(packed(pro_key.text)) for connection in crowd))
            connections += crowd
        os.kill(before[0], signal.SIGKILL)
        outcomes: Counter[str] = Counter()
        for connection in connections:
            try:
                outcomes[str(await connection.judged(packed(pro_key.text)))] += 1
            except (OSError, asyncio.IncompleteReadError):
                outcomes["closed"] += 1
        return outcomes

    outcomes = asyncio.run(run())
    assert set(outcomes) <= {"200", "429", "closed"}  # each has a connection to one worker, and only that one ends
    assert outcomes["closed"] < outcomes.total()
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
