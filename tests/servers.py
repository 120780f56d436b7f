"""Real servers for tests, each on its own address and stopped with the test that started it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import redis

from deploy.demo.obstacle import Obstacle
from deploy.demo.store import server_binary

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Poll until it is true. Raises AssertionError with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


async def until(is_true: Callable[[], bool], what: str = "it", seconds: float = START_SECONDS) -> None:
    """Like `wait_until`, and the event loop runs meanwhile."""
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        await asyncio.sleep(0.01)


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def running(
    command: list[str], *, env: dict[str, str] | None = None, log: Path, folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block. Its output goes to `log`."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def redis_binary() -> str:
    """The server on PATH, else the demo's. Without either, ends the run with one sentence."""
    try:
        return str(server_binary())
    except Obstacle as obstacle:
        pytest.exit(str(obstacle), 1)


@contextmanager
def redis_server(
    directory: Path, *, port: int = 0, more: tuple[str, ...] = (), password: str | None = None
) -> Iterator[Path]:
    """A Redis on a socket in `directory`, and on `port` unless that is 0. Yields the socket's path."""
    path = directory / "redis.sock"
    command = [
        redis_binary(),
        "--port",
        str(port),
        "--unixsocket",
        str(path),
        "--save",
        "",
        "--dir",
        str(directory),
        "--maxmemory-policy",
        "noeviction",
        *more,
    ]
    with running(command, log=directory / "redis.log"):
        client = redis.Redis(unix_socket_path=str(path), password=password)
        wait_until(lambda: _answers(client), "redis answering")
        client.close()
        yield path


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False


@contextmanager
def gunicorn(
    application: str, directory: Path, *args: str, env: dict[str, str], name: str = "gunicorn"
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """gunicorn serving `application`. Yields its port and process."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--no-control-socket",
        *args,
        application,
    ]
    with running(command, env={**os.environ, **env}, log=directory / f"{name}.log") as process:
        wait_until(lambda: process.poll() is not None or accepts(port), f"{name} listening")
        assert process.poll() is None, (directory / f"{name}.log").read_text()[-3000:]
        yield port, process


@contextmanager
def mail_server_at(host: str) -> Iterator[tuple[socket.socket, list[str]]]:
    """A mail server that accepts one message, and the lines it was sent."""
    told: list[str] = []
    with socket.create_server((host, 0)) as listening:
        listening.settimeout(60)
        thread = threading.Thread(target=_take_one_mail, args=(listening, told), daemon=True)
        thread.start()
        yield listening, told
        thread.join(60)


@contextmanager
def mail_server_for_many() -> Iterator[tuple[int, list[list[str]]]]:
    """A mail server that accepts any number of messages: its port, and the lines of each."""
    mails: list[list[str]] = []

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                told: list[str] = []
                _take_one_mail(listening, told, partial(_note, mails, told))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield int(listening.getsockname()[1]), mails
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(60)


def _note(mails: list[list[str]], told: list[str]) -> None:
    mails.append(told.copy())


def _take_one_mail(listening: socket.socket, told: list[str], note: Callable[[], object] = bool) -> None:
    """`note` is called before the sender learns that the mail was taken, so that a test finds it right after."""
    connection, _ = listening.accept()
    with connection, connection.makefile("rwb") as lines:

        def say(text: bytes) -> None:
            lines.write(text + b"\r\n")
            lines.flush()

        say(b"220 ready")
        in_mail = False
        for raw in lines:
            line = raw.decode().rstrip("\r\n")
            told.append(line)
            if in_mail:
                in_mail = line != "."
                if not in_mail:
                    note()
                    say(b"250 taken")
            elif line.upper().startswith("DATA"):
                in_mail = True
                say(b"354 go on")
            elif line.upper().startswith("QUIT"):
                say(b"221 bye")
                return
            else:
                say(b"250 ok")
