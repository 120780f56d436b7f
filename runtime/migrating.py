"""The database's schema beside this code's: what is missing, and one process at a time that mends it."""

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

LOCK = int.from_bytes(b"authsvc", "big")  # of our own among the advisory locks of a database
# For a table in use: whoever comes while a migration waits for it waits behind it.
STATEMENT_LOCK_SECONDS = 15
PAUSE_SECONDS = 0.25
REMIND_SECONDS = 10


class SchemaBehind(DatabaseError):
    """The database has not all tables and columns that this code reads."""


class StillLocked(Exception):
    """Another start was migrating for longer than we may wait."""


def missing() -> list[str]:
    """The migrations of this code that the database has not. Those of a later version do not count."""
    applied = MigrationRecorder(connection).applied_migrations()
    return [f"{app}.{name}" for app, name in of_this_code() if (app, name) not in applied]


@cache
def of_this_code() -> tuple[tuple[str, str], ...]:
    """App and name of every migration. A gate reads them when it starts: a look-up has no time for it."""
    return tuple(sorted(MigrationLoader(None).disk_migrations))


@cache
def require_current() -> None:
    """Raise SchemaBehind unless the schema is at least this code's. Asks until it is, then never again."""
    if missing():
        raise SchemaBehind("the database is older than this code: manage.py set_up brings it up to date")


def migrate() -> None:
    """Bring the schema up to date. A table that others do not let go of ends it, with nothing half done."""
    wrapped = connection.execute_wrapper(_with_patience) if connection.vendor == "postgresql" else nullcontext()
    with wrapped:
        call_command("migrate", interactive=False, verbosity=1, skip_checks=False)


def _with_patience(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Bound the wait for a lock by the transaction: a session's setting would stay in a pooler's session for others."""
    if connection.in_atomic_block:
        with connection.connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{STATEMENT_LOCK_SECONDS}s'")
    return execute(sql, params, many, context)


@contextmanager
def alone(seconds: float, say: Say) -> Iterator[None]:
    """No other process on this database is in this block meanwhile. Raises StillLocked.

    PostgreSQL: an advisory lock of a transaction on a connection of its own, which ends with that, however it ends; a
    session's lock would stay behind in a pooler. SQLite: a lock on a file beside the database, which ends with the
    process.
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
            raise StillLocked(f"Another start has been setting up this database for {seconds:g} s")
        if first or now - reminded > REMIND_SECONDS:
            say("another start is setting up this database: waiting for it")
            first, reminded = False, now
        sleep(PAUSE_SECONDS)
