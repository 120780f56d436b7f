"""manage.py discover_models: register models that Traefik serves behind the gate in the catalogue."""

from __future__ import annotations

import logging
import signal
from argparse import ArgumentParser
from threading import Event
from typing import Any, NoReturn

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import close_old_connections
from redis.exceptions import RedisError

from runtime.commands import OperatorCommand, pending
from runtime.env import duration
from runtime.faults import in_words
from traefik.api import Access, TraefikUnreadable, read_routers
from traefik.discovery import find_models
from traefik.options import add_access, read_access
from traefik.registration import Discovery, write_down

log = logging.getLogger("authsvc.discover_models")


class Command(OperatorCommand):
    help = "Register the models that Traefik's routers pin and the catalogue lacks. They are outside of * until named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_access(parser)
        parser.add_argument("--watch", action="store_true", help="keep looking until stopped")
        parser.add_argument(
            "--every", default="5s", metavar="TIME", help="with --watch: how often, such as 5s or 1m (default: 5s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        access, every = read_access(options), _seconds(options["every"])
        if options["watch"]:
            Watch(access, options["gate_url"]).go_on(every)
            return
        try:
            done = _look(access, options["gate_url"])
        except TraefikUnreadable as error:
            raise CommandError(str(error), returncode=2) from error
        for remark in done.remarks:
            self.stderr.write(remark)
        for line in done.changes:
            self.stdout.write(line)
        self.stdout.write(f"{len(done.changes)} new." if done.changes else "Nothing new.")
        if done.is_pending:
            raise pending()


def _look(access: Access, gate_url: str) -> Discovery:
    return write_down(find_models(read_routers(access), gate_url))


class Watch:
    """Looks repeatedly. Each problem is logged when it begins and when it ends, not every time."""

    def __init__(self, access: Access, gate_url: str) -> None:
        self._access, self._gate_url = access, gate_url
        self._trouble = ""
        self._told: frozenset[str] = frozenset()

    def go_on(self, every: float) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        log.info("looking for models at %s", self._access.url)
        while True:
            self._turn()
            Event().wait(every)

    def _turn(self) -> None:
        try:
            done = _look(self._access, self._gate_url)
        except (TraefikUnreadable, DatabaseError, RedisError) as error:
            self._stumble(_sentence(error))
            close_old_connections()
            return
        if self._trouble:
            log.warning("working again")
            self._trouble = ""
        self._tell(done)

    def _stumble(self, sentence: str) -> None:
        if sentence != self._trouble:
            self._trouble = sentence
            log.error("%s Trying again until it works.", sentence)

    def _tell(self, done: Discovery) -> None:
        for line in done.changes:
            log.info("%s%s", line, "; pending, keep_ledger will publish it" if done.is_pending else "")
        for remark in done.remarks:
            if remark not in self._told:
                log.warning("%s", remark)
        self._told = frozenset(done.remarks)


def _end(*_: Any) -> NoReturn:
    """Stop at once, even while waiting for an answer: an open transaction rolls back, and an outbox row remains."""
    raise SystemExit(0)


def _sentence(error: Exception) -> str:
    if isinstance(error, RedisError):
        return f"Redis cannot be reached ({type(error).__name__}): start it, or correct REDIS_URL."
    if isinstance(error, TraefikUnreadable):
        return str(error)
    return in_words(error) or f"The database refused the query ({type(error).__name__})."


def _seconds(text: str) -> float:
    try:
        return duration(text).total_seconds()
    except ValueError as error:
        raise CommandError(f"--every: {error}") from error
