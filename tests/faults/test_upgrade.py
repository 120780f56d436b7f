"""From the last release to this code and back, gate by gate, under traffic. AUTHSVC_TEST_UPGRADE_KEYS makes it larger."""

from __future__ import annotations

import asyncio
import io
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
from asyncio import IncompleteReadError
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from store import names
from tests.gate.conftest import question
from tests.load.client import Connection
from tests.patient import PATIENT
from tests.servers import ROOT, accepts, free_port, redis_server, running, until, wait_until

pytestmark = pytest.mark.slow

RELEASE = "Sort the changelog of 0.2.0 again, and the index of decisions"  # the subject of its last commit
KEYS = int(os.environ.get("AUTHSVC_TEST_UPGRADE_KEYS", "2000"))
KEYS_OF_AN_ACCOUNT = 100  # as many as it may have
CONNECTIONS = 8
CALLS = 200  # between two steps
SECONDS = 600
CATALOGUE = """
default_plan = "large"
[models.sm]
title = "small"
[plans.large]
models = ["*"]
limits = [
  { name = "second", per = "account", amount = 1000000, window = "second", burst = 1000000 },
  { name = "month", per = "account", amount = 1000000000, window = "month" },
]
"""
ACCOUNTS = f"""
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from quotas.models import Plan
for number in range({-(-KEYS // KEYS_OF_AN_ACCOUNT)}):
    name = f"cus_{{number}}"
    create_account(name, Plan.objects.get(name="large"), external_id=name, actor=Actor("tests"))
"""


@pytest.fixture
def released(tmp_path) -> Path:
    """The code of the last release. Skips in a clone that lacks it."""
    found = _git("log", "--format=%H", "--fixed-strings", f"--grep={RELEASE}").decode().split()
    if not found:
        pytest.skip("the last release is not in this clone: git fetch --unshallow")
    folder: Path = tmp_path / "released"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", found[-1]))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else b""


def key_of(number: int) -> str:
    return f"key-of-another-system-{number:08d}"


class Place:
    """What both versions share: a database, a Redis, two ports for gates."""

    def __init__(self, folder: Path, socket: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
        self.folder, self.database, self._socket = folder, folder / "db.sqlite3", socket
        self.ports = [free_port(), free_port()]
        self.env = kept | PATIENT
        self.env |= {
            "SECRET_KEY": "s" * 40,
            "KEY_PEPPER": "p" * 40,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "REDIS_URL": f"unix://{socket}?db=0",
            "ALLOWED_HOSTS": "*",
            "AUTHSVC_IMPORTED_KEYS": "1",
            "AUTHSVC_SERVES": "gate",
            "WEB_CONCURRENCY": "1",
            "AUTHSVC_DRAIN": "1",
        }

    def manage(self, code: Path, *words: str) -> None:
        command = [sys.executable, "manage.py", *words]
        env = self.env | {"PYTHONPATH": str(code)}
        done = subprocess.run(command, cwd=code, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, (words, done.stdout[-1000:], done.stderr[-2000:])

    def set_up(self, code: Path) -> None:
        catalogue = self.folder / "catalogue.toml"
        catalogue.write_text(CATALOGUE)
        self.manage(code, "set_up", "--catalogue", str(catalogue))

    def fill(self, code: Path) -> None:
        self.manage(code, "shell", "-c", ACCOUNTS)
        lines = (f"cus_{number // KEYS_OF_AN_ACCOUNT},n{number},{key_of(number)}" for number in range(KEYS))
        file = self.folder / "keys.csv"
        file.write_text("\n".join(["external_id,name,key", *lines, ""]))
        self.manage(code, "import_keys", str(file))

    @contextmanager
    def gate(self, code: Path, place: int) -> Iterator[None]:
        env = self.env | {"PYTHONPATH": str(code), "BIND": f"127.0.0.1:{self.ports[place]}"}
        command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-c", "deploy/gunicorn.conf.py"]
        command.append("authsvc.asgi:application")
        with running(command, env=env, log=self.folder / f"gate-{place}.log", folder=code):
            wait_until(lambda: accepts(self.ports[place]), "a gate listening", SECONDS)
            yield

    @contextmanager
    def worker(self, code: Path) -> Iterator[None]:
        env = self.env | {"PYTHONPATH": str(code)}
        command = [sys.executable, "manage.py", "keep_ledger"]
        with running(command, env=env, log=self.folder / "worker.log", folder=code):
            yield

    def is_published(self) -> bool:
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=SECONDS) as client:
            return bool(client.exists(names.LIFE))

    def counted(self) -> int:
        with sqlite3.connect(self.database, timeout=60) as database:
            return int(database.execute("SELECT COALESCE(SUM(allowed), 0) FROM quotas_usagehour").fetchone()[0])


class Traffic:
    """Asks gates that are in use about keys at random, as a proxy with a health check would."""

    def __init__(self, place: Place) -> None:
        self._place, self._chance = place, random.Random(7)
        self.in_use = {0, 1}
        self.busy: Counter[int] = Counter()
        self.answers: Counter[str] = Counter()
        self.is_on = True

    async def run(self) -> None:
        await asyncio.gather(*(self._ask() for _ in range(CONNECTIONS)))

    async def _ask(self) -> None:
        while self.is_on:
            gate = self._chance.choice(sorted(self.in_use))
            connection = Connection(self._place.ports[gate])
            self.busy[gate] += 1
            for _ in range(20):
                self.answers[await self._answer(connection)] += 1
            await connection.close()
            self.busy[gate] -= 1

    async def _answer(self, connection: Connection) -> str:
        headers = question(key_of(self._chance.randrange(KEYS)))
        head = ["GET /auth/?model=sm HTTP/1.1", "Host: gate", *(f"{name}: {value}" for name, value in headers)]
        try:
            return str(await connection.ask("\r\n".join([*head, "", ""]).encode()))
        except (OSError, IncompleteReadError) as error:
            return type(error).__name__

    async def goes_on(self) -> None:
        before = self.answers.total()
        await until(lambda: self.answers.total() >= before + CALLS, "answers", SECONDS)

    async def leave(self, gate: int) -> None:
        self.in_use.discard(gate)
        await until(lambda: not self.busy[gate], "the last answers of a gate", SECONDS)


class Fleet:
    """Two gates and a worker, each of a version of its own."""

    def __init__(self, place: Place, code: Path) -> None:
        self._place = place
        self._gates, self._worker = [ExitStack(), ExitStack()], ExitStack()
        for number, gate in enumerate(self._gates):
            gate.enter_context(place.gate(code, number))
        self._worker.enter_context(place.worker(code))

    async def move_to(self, code: Path, traffic: Traffic) -> None:
        """Replace one after the other."""
        for number, gate in enumerate(self._gates):
            await traffic.leave(number)
            await asyncio.to_thread(gate.close)
            await asyncio.to_thread(gate.enter_context, self._place.gate(code, number))
            traffic.in_use.add(number)
            await traffic.goes_on()
        await asyncio.to_thread(self._worker.close)
        self._worker.enter_context(self._place.worker(code))
        await traffic.goes_on()

    def close(self) -> None:
        for part in (*self._gates, self._worker):
            part.close()


def test_no_call_fails_on_the_way_from_the_last_release_and_back(released: Path, tmp_path):
    with redis_server(tmp_path) as socket, ExitStack() as stack:
        place = Place(tmp_path, socket)
        place.set_up(released)
        place.fill(released)
        fleet = Fleet(place, released)
        stack.callback(fleet.close)
        wait_until(place.is_published, "the worker publishing everything", SECONDS)
        traffic = Traffic(place)

        async def journey() -> None:
            asking = asyncio.create_task(traffic.run())
            await traffic.goes_on()
            await asyncio.to_thread(place.set_up, ROOT)  # the schema first
            await traffic.goes_on()
            await fleet.move_to(ROOT, traffic)
            await fleet.move_to(released, traffic)
            traffic.is_on = False
            await asking

        asyncio.run(journey())
        assert traffic.answers == {"200": traffic.answers.total()}
        place.manage(ROOT, "keep_ledger", "--once")  # the release would first publish all keys again, one by one
        assert place.counted() == traffic.answers["200"]
