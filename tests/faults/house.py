"""Gates, a worker and a Redis, as processes that can be killed, stopped and started again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import redis

from tests.gate.conftest import question
from tests.gate.test_fronts import environment
from tests.servers import ROOT, accepts, free_port, redis_binary, running, wait_until

GATE_SECONDS = 60


class House:
    """Two gate workers at `port`, their health at `admin_port`, one worker, one Redis, all with one folder."""

    def __init__(self, directory: Path, stack: ExitStack, **settings: str) -> None:
        self.directory, self._stack = directory, stack
        self.redis_url = f"unix://{directory}/redis.sock"
        self.env = {**environment(), "REDIS_URL": self.redis_url, "AUTHSVC_SERVES": "gate", "WEB_CONCURRENCY": "2"}
        self.env |= settings
        self.admin_port = self.port = 0
        self.sample = ""  # a key to ask for when any will do

    # Redis.

    def start_redis(self, *more: str) -> None:
        """An empty one, unless the folder has a file of an earlier one that it loads."""
        socket = self.directory / "redis.sock"
        socket.unlink(missing_ok=True)
        command = [redis_binary(), "--port", "0", "--unixsocket", str(socket), "--dir", str(self.directory)]
        command += ["--save", "", "--maxmemory-policy", "noeviction", *more]
        self.redis_process = self._stack.enter_context(running(command, log=self.directory / "redis.log"))
        wait_until(self._redis_answers, "redis answering")

    def kill_redis(self) -> None:
        self.redis_process.send_signal(signal.SIGKILL)
        self.redis_process.wait()

    def redis(self) -> redis.Redis:
        """A client of its own, with rights that no test takes away."""
        return redis.Redis(unix_socket_path=str(self.directory / "redis.sock"), socket_timeout=5)

    def _redis_answers(self) -> bool:
        with suppress(redis.RedisError), self.redis() as client:
            return bool(client.ping())
        return False

    # Gates and worker.

    def start_gates(self, **settings: str) -> subprocess.Popen[bytes]:
        self.admin_port = free_port()
        self.port = free_port()
        addresses = {"BIND": f"127.0.0.1:{self.port}", "ADMIN_BIND": f"127.0.0.1:{self.admin_port}"}
        command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-c", "deploy/gunicorn.conf.py"]
        command.append("authsvc.asgi:application")
        env = os.environ | self.env | settings | addresses
        master = self._stack.enter_context(running(command, env=env, log=self.directory / "gunicorn.log"))
        wait_until(lambda: accepts(self.port), "the gates listening", seconds=GATE_SECONDS)
        return master

    def start_worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", "keep_ledger"]
        return self._stack.enter_context(running(command, env=os.environ | self.env, log=self.directory / "worker.log"))

    def run(self, program: str, *words: str) -> int:
        """The exit code of a Python program with the product's settings; negative if a signal ended it."""
        command = [sys.executable, "-c", program, *words]
        return subprocess.run(command, cwd=ROOT, env=os.environ | self.env, check=False, timeout=120).returncode

    def log(self) -> str:
        return (self.directory / "gunicorn.log").read_text(errors="replace")

    # Questions.

    def ask(self, key: str) -> http.client.HTTPResponse:
        """The answer to a question over a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=GATE_SECONDS)) as connection:
            connection.request("GET", "/auth/?model=sm", headers=dict(question(key)))
            response = connection.getresponse()
            response.read()
        return response

    def statuses(self, key: str, number: int) -> Counter[int]:
        return Counter(self.ask(key).status for _ in range(number))

    def readiness(self) -> tuple[int, list[str]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=GATE_SECONDS)) as connection:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            body: dict[str, Any] = json.loads(response.read())
        return response.status, body["reasons"]

    def wait_for(self, key: str, status: int) -> None:
        wait_until(lambda: self.ask(key).status == status, f"an answer {status}", seconds=GATE_SECONDS)
