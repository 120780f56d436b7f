"""The least that the stock worker can do: an ASGI application that only answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import gunicorn

OPTIONS = ("--workers", "1", "-k", "uvicorn_worker.UvicornWorker", "--keep-alive", "100")


@contextmanager
def empty_answers(directory: Path) -> Iterator[tuple[int, int]]:
    """Its port and process."""
    with gunicorn("bench.empty:application", directory, *OPTIONS, env={}, name="empty") as (port, process):
        yield port, process.pid
