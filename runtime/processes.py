"""Which processes of this deployment run: each reports itself to Redis every few seconds, off the path of its requests.

Consoles could not tell otherwise. Gates write to no database, and no process knows the addresses of the others.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from redis.exceptions import RedisError

from runtime import replica
from store import clients, names
from store.clients import StoreUnavailable
from store.commands import Script, ScriptCall

REPORT_SECONDS = 10
GOODBYE_SECONDS = 1  # for the last report
KEPT_SECONDS = 86_400
SERVING, STOPPING, ENDED = "serving", "stopping", "ended"

_LUA = Path(names.__file__).parent / "lua"
_REPORT, _REPORTS = Script.in_file(_LUA / "report.lua"), Script.in_file(_LUA / "reports.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedProcess:
    """What a process said of itself, `heard_ago` seconds ago. Other times are seconds before it was said."""

    heard_ago: int
    serves: tuple[str, ...] = ()  # gate, console, worker
    replica: str = ""
    host: str = ""
    version: str = ""
    state: str = SERVING
    running: float = 0
    copied_ago: float | None = None  # of a worker: since its last complete turn
    swept_ago: float | None = None
    trouble: str = ""  # redis or database, if the worker's last turn failed


class OwnReport:
    """This process's report. A worker that takes a dead one's seat replaces its report, too."""

    def __init__(self, serves: Sequence[str]) -> None:
        self._serves, self._born = list(serves), monotonic()

    def call(self, whose: str, state: str, **more: object) -> ScriptCall:
        """What writes it, unless Redis belongs to a deployment other than `whose`."""
        told = {
            "serves": self._serves,
            "replica": replica.IDENTITY,
            "host": socket.gethostname(),
            "version": settings.VERSION,
            "state": state,
            "running": round(monotonic() - self._born),
            **more,
        }
        process = f"{replica.IDENTITY}:{replica.own_seat().index}"
        return _REPORT.call([names.PROCESSES, names.DEPLOYMENT], [whose, process, json.dumps(told), KEPT_SECONDS])


class ServerReports:
    """The reports of a process that serves requests. `whose` tells the deployment's identity once it is known."""

    def __init__(
        self, whose: Callable[[], Awaitable[str | None]], write: Callable[[ScriptCall], Awaitable[object]]
    ) -> None:
        self._own, self._whose, self._write = OwnReport(settings.SERVES), whose, write
        self._keeping: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def end(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._say(ENDED)

    async def _keep(self) -> None:
        while True:
            is_leaving = replica.is_draining() or replica.was_replaced(replica.own_seat())
            await self._say(STOPPING if is_leaving else SERVING)
            await asyncio.sleep(REPORT_SECONDS)

    async def _say(self, state: str) -> None:
        # The reader of the reports sees that one is missing; the gate and its metrics say what is wrong with Redis.
        with suppress(StoreUnavailable, RedisError, DatabaseError):
            if whose := await self._whose():
                await self._write(self._own.call(whose, state))


class ReportsBeside:
    """The reports of a worker, from a thread beside its turns: some take long, and it is alive all the same."""

    def __init__(self, whose: Callable[[], str | None], more: Callable[[], dict[str, object]]) -> None:
        self._own, self._whose, self._more = OwnReport(["worker"]), whose, more
        self._ended = Event()
        self._thread = Thread(target=self._keep, name="reports", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(GOODBYE_SECONDS)
        self._say(ENDED)

    def _keep(self) -> None:
        self._say(SERVING)
        while not self._ended.wait(REPORT_SECONDS if self._whose() else 1):
            self._say(SERVING)

    def _say(self, state: str) -> None:
        with suppress(RedisError):
            if whose := self._whose():
                self._own.call(whose, state, **self._more()).run(clients.sync_client())


def read_processes() -> list[ReportedProcess]:
    """Everybody who has reported within a day. Raises RedisError."""
    reply = _REPORTS.call([names.PROCESSES], [KEPT_SECONDS]).run(clients.sync_client())
    return list(_read(zip(reply[::2], reply[1::2], strict=True)))


_KNOWN = {field.name for field in fields(ReportedProcess)} - {"heard_ago"}


def _read(reports: Iterator[tuple[int, str]]) -> Iterator[ReportedProcess]:
    """A version before or after this one may say less or more. What makes no sense is left out."""
    for heard_ago, text in reports:
        with suppress(ValueError, TypeError, AttributeError):
            told: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in _KNOWN}
            yield ReportedProcess(**{**told, "heard_ago": int(heard_ago), "serves": tuple(told.get("serves", ()))})
