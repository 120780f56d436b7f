"""The gate with a Redis and a database of its own, and keys that it knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.processes import family
from tests.servers import ROOT, free_port, gunicorn, redis_server

# Eight headers with the key, as Traefik sends them with `authRequestHeaders`.
HEADERS = {
    "X-Forwarded-Uri": "/en_core_web_sm/ner",
    "X-Forwarded-Method": "POST",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example.com",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Server": "traefik",
}
WITH_KEY = {**HEADERS, "Authorization": "Bearer KEY"}
TARGET = "/auth/?model=en_core_web_sm"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Stores:
    """A Redis and a database, filled with keys."""

    directory: Path
    redis_port: int
    redis_pid: int
    environment: Mapping[str, str]
    keys: tuple[str, ...]
    filled: Mapping[str, float]  # what filling them took, by step: seconds

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.redis_port)


@dataclass(frozen=True, slots=True)
class RunningGate:
    """A gate with one worker process."""

    port: int
    pid: int
    stores: Stores

    @property
    def processes(self) -> dict[str, int]:
        return {"server": self.pid, "redis": self.stores.redis_pid}

    @property
    def worker(self) -> int:
        """The process that decides, gunicorn's only child."""
        return list(family(self.pid))[1]


@contextmanager
def bare_redis(directory: Path) -> Iterator[tuple[int, int]]:
    """A Redis by TCP, as in the stacks: its port and its process."""
    directory.mkdir(exist_ok=True)
    port = free_port()
    with redis_server(directory, port=port) as socket, redis.Redis(unix_socket_path=str(socket)) as client:
        yield port, int(client.info("server")["process_id"])


@contextmanager
def filled_stores(directory: Path, *, accounts: int = 20, keys: int = 20) -> Iterator[Stores]:
    """Stores with this many keys, evenly spread over accounts on one plan with three limits."""
    with bare_redis(directory) as (port, pid):
        environment = environment_of(directory, port)
        options = ["--accounts", str(accounts), "--keys", str(keys), "--write", str(directory / "issued.keys")]
        filled = run_python("bench.filling", options, environment)
        issued = (directory / "issued.keys").read_text(encoding="ascii").split()
        yield Stores(directory, port, pid, environment, tuple(issued), filled)


@contextmanager
def started_gate(
    stores: Stores, application: str = "authsvc.asgi:application", **environment: str
) -> Iterator[RunningGate]:
    """The gate as it is deployed, with one worker."""
    env = {**stores.environment, "WEB_CONCURRENCY": "1", "AUTHSVC_SERVES": "gate", **environment}
    options = ["-c", "deploy/gunicorn.conf.py"]
    name = application.partition(":")[0]
    with gunicorn(application, stores.directory, *options, env=env, name=name) as (port, process):
        yield RunningGate(port, process.pid, stores)


def environment_of(directory: Path, redis_port: int) -> dict[str, str]:
    return {
        "SECRET_KEY": "x" * 50,
        "KEY_PEPPER": "y" * 50,
        "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "DJANGO_SETTINGS_MODULE": "authsvc.settings",
        "AUTHSVC_DRAIN": "0",
        "AUTHSVC_IMPORTED_KEYS": "1",
    }


def run_python(module: str, options: list[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Run a module of ours in a process of its own. It prints what it found as one line of JSON, its last."""
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed with exit status {done.returncode}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told
