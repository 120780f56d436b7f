"""manage.py keep_ledger: the worker. Delivers the outbox, copies usage, and repairs a Redis that lost data."""

from __future__ import annotations

import logging
import signal
from argparse import ArgumentParser
from threading import Event
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import connection
from redis.exceptions import RedisError

from accounts.ledger_worker import Worker
from accounts.measured import Turns, outbox
from quotas import deployment
from runtime import health, listening
from runtime.admin_server import serve_beside
from runtime.commands import PENDING, OperatorCommand
from runtime.faults import in_words, of_redis
from runtime.processes import ReportsBeside
from store.clients import conditions
from store.condition import REMEDY, wrong_policies, wrong_policy

PAUSE_SECONDS = 0.5

log = logging.getLogger("authsvc.keep_ledger")


class Command(OperatorCommand):
    help = "Deliver the outbox to the gate and copy usage to the database, continuously or, with --once, one time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="do everything that is due once, and print what was done"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            try:
                _refuse_unfit()
                worker = Worker()
                self.stdout.write(str(worker.turn()))
                worker.postman.go()
            except (RedisError, DatabaseError) as error:
                raise CommandError(_in_words(error), returncode=PENDING) from error
            return
        admin = listening.addresses("ADMIN_BIND", "")
        try:
            _refuse_unfit()
        except (RedisError, DatabaseError) as error:
            log.error("%s Trying again until it works.", _in_words(error))
        turns = Turns()
        health.also("outbox", outbox)
        health.also("turns", turns.metrics)
        serve_beside(admin)
        _keep_turning(Worker(), turns)


def _refuse_unfit() -> None:
    """Raise CommandError if Redis may evict keys or belongs to a different deployment."""
    for policy in wrong_policies(conditions()):
        raise CommandError(f"{wrong_policy(policy)} {REMEDY}")
    try:
        deployment.claim()
    except deployment.AnotherDeployment as error:
        raise CommandError(str(error)) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, RedisError):
        return of_redis(error)
    return in_words(error) or f"The database refused ({type(error).__name__})."


def _keep_turning(worker: Worker, turns: Turns) -> None:
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reports = ReportsBeside(lambda: worker.deployment, lambda: {**turns.report(), **worker.report()})
    reports.begin()
    log.info("keeping the ledger")
    trouble = ""
    while not stop.wait(PAUSE_SECONDS):
        try:
            with turns.measured():
                done = worker.turn()
            turns.did(done)
        except (RedisError, DatabaseError) as error:
            # Nothing is lost: usage that was not copied stays listed, and unpublished changes stay in the outbox.
            if type(error).__name__ != trouble:
                trouble = type(error).__name__
                log.error("%s Trying again until it works.", _in_words(error))
            # Even a connection that still works: after a failover it may lead to a replica.
            connection.close()
            continue
        if trouble:
            log.warning("recovered from %s", trouble)
            trouble = ""
        if done.is_news:
            log.info("%s", done)
    worker.postman.leave()
    reports.end()
