"""The database's schema compared with this code's: which migrations are missing, and a lock to apply them under."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

Say = Callable[[str], None]

LOCK = int.from_bytes(b"authsvc", "big")  # the number of our advisory lock
# How long a migration waits for a table in use: later queries on that table queue up behind it.
STATEMENT_LOCK_SECONDS = 15
PAUSE_SECONDS = 0.25
REMIND_SECONDS = 10


class SchemaBehind(DatabaseError):
    """The database lacks tables or columns that this code reads."""


class StillLocked(Exception):
    """Another start was still migrating when our wait ran out."""


def missing() -> list[str]:
    """This code's migrations that are not applied. Those of a later version do not count."""
    applied = MigrationRecorder(connection).applied_migrations()
    return [f"{app}.{name}" for app, name in of_this_code() if (app, name) not in applied]


@cache
def of_this_code() -> tuple[tuple[str, str], ...]:
    """App and name of every migration. A gate reads them at start-up, because a key lookup has no time to."""
    return tuple(sorted(MigrationLoader(None).disk_migrations))


@cache
def require_current() -> None:
    """Raise SchemaBehind unless the schema is at least as new as this code. Stops checking once it is."""
    if missing():
        raise SchemaBehind("the database schema is older than this code: run manage.py set_up")


def migrate() -> None:
    """Bring the schema up to date. If a table stays locked, the migration fails as a whole."""
    wrapped = connection.execute_wrapper(_with_patience) if connection.vendor == "postgresql" else nullcontext()
    with wrapped:
        call_command("migrate", interactive=False, verbosity=1, skip_checks=False)


def _with_patience(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Limit the wait for a lock in this transaction only: a session setting would leak to others through a pooler."""
    if connection.in_atomic_block:
        with connection.connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{STATEMENT_LOCK_SECONDS}s'")
    return execute(sql, params, many, context)


@contextmanager
def alone(seconds: float, say: Say) -> Iterator[None]:
    """Only one process per database is inside this block at a time. Raises StillLocked.

    PostgreSQL: a transaction-level advisory lock on a separate connection, released however that connection ends; a
    session-level lock could be left behind in a pooler. SQLite: a lock on a file beside the database, released when
    the process ends.
    """
    with (_advisory_lock if connection.vendor == "postgresql" else _file_lock)(seconds, say):
        yield


@contextmanager
def _advisory_lock(seconds: float, say: Say) -> Iterator[None]:
    own = connection.copy()
    try:
        own.connect()
        own.set_autocommit(False)
        with own.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")

            def taken() -> bool:
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
                return bool(cursor.fetchone()[0])

            _take(taken, seconds, say)
        yield
    finally:
        with suppress(DatabaseError):
            own.close()


@contextmanager
def _file_lock(seconds: float, say: Say) -> Iterator[None]:
    path = Path(f"{connection.settings_dict['NAME']}.set-up")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        _take(taken, seconds, say)
        yield
    finally:
        os.close(descriptor)


def _take(taken: Callable[[], bool], seconds: float, say: Say) -> None:
    began = reminded = monotonic()
    first = True
    while not taken():
        now = monotonic()
        if now - began > seconds:
            raise StillLocked(f"Another start has been setting up this database for more than {seconds:g} s")
        if first or now - reminded > REMIND_SECONDS:
            say("waiting for another start that is setting up this database")
            first, reminded = False, now
        sleep(PAUSE_SECONDS)
