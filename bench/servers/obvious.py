"""The obvious way: bench/obvious, a small Django project, on gunicorn's threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers.gate import bare_redis, environment_of, run_python
from tests.servers import gunicorn

OPTIONS = ("--workers", "1", "-k", "gthread", "--threads", "4", "--keep-alive", "100", "--worker-connections", "1000")


@dataclass(frozen=True, slots=True)
class RunningObvious:
    """Its port, its processes by role, and the tokens that it takes."""

    port: int
    processes: dict[str, int]
    tokens: tuple[str, ...]


@contextmanager
def obvious_way(directory: Path, *, tokens: int = 20) -> Iterator[RunningObvious]:
    """With as many people as tokens, all in one group that may use the model."""
    with bare_redis(directory) as (port, redis_pid):
        env = {**environment_of(directory, port), "DJANGO_SETTINGS_MODULE": "bench.obvious.settings"}
        file = directory / "issued.tokens"
        run_python("bench.obvious.fill", [str(file), str(tokens)], env)
        application = "bench.obvious.application:application"
        with gunicorn(application, directory, *OPTIONS, env=env, name="obvious") as (own, process):
            processes = {"server": process.pid, "redis": redis_pid}
            yield RunningObvious(own, processes, tuple(file.read_text(encoding="ascii").split()))
