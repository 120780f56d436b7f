"""manage.py keep_ledger: the worker. Delivers the outbox, copies usage, and mends a Redis that lost or changed."""

from __future__ import annotations

import logging
import signal
from argparse import ArgumentParser
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import close_old_connections
from redis.exceptions import RedisError

from accounts.worker import Worker

PENDING = 3
PAUSE_SECONDS = 0.5

log = logging.getLogger("authsvc.keep_ledger")


class Command(BaseCommand):
    help = "Deliver the outbox to the gate and copy usage to the database: for ever, or with --once one time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="do everything that is due one time, and say what was done"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        worker = Worker()
        if options["once"]:
            try:
                self.stdout.write(str(worker.turn()))
            except RedisError as error:
                raise CommandError(f"Redis cannot be reached: {type(error).__name__}.", returncode=PENDING) from error
            except DatabaseError as error:
                raise CommandError(
                    f"The database cannot be reached: {type(error).__name__}.", returncode=PENDING
                ) from error
            return
        _keep_turning(worker)


def _keep_turning(worker: Worker) -> None:
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("keeping the ledger")
    trouble = ""
    while not stop.wait(PAUSE_SECONDS):
        try:
            done = worker.turn()
        except (RedisError, DatabaseError) as error:
            # Nothing is lost: what was not copied stays on the list, what was not published stays in the outbox.
            if type(error).__name__ != trouble:
                trouble = type(error).__name__
                log.error("cannot go on now (%s); trying again until it works", trouble)
            close_old_connections()
            continue
        if trouble:
            log.warning("going on after %s", trouble)
            trouble = ""
        if done.is_news:
            log.info("%s", done)
