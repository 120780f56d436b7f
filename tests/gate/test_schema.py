"""A gate that was started while the database was away, and finds it older than its code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from runtime import migrating
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NEW = ("accounts", "9999_of_this_code")


@pytest.fixture
def older(monkeypatch, transactional_db):
    """The code has one migration more than the database; the value applies it."""
    ours = migrating.of_this_code()
    monkeypatch.setattr(migrating, "of_this_code", lambda: (*ours, NEW))
    migrating.require_current.cache_clear()
    yield lambda: MigrationRecorder(connection).record_applied(*NEW)
    MigrationRecorder(connection).record_unapplied(*NEW)
    migrating.require_current.cache_clear()


def passes(ask, issued) -> None:
    """On a busy machine a first look-up may take longer than a decision may: the next one finds the connection."""
    wait_until(lambda: ask(issued.text).status == 200, "a call passing")


def test_it_serves_what_redis_knows(ask, issued, older):
    assert ask(issued.text).status == 200


def test_it_reads_no_facts_from_an_older_schema_and_continues_once_it_is_migrated(ask, issued, redis_db, older):
    redis_db.flushdb()
    assert ask(issued.text).status == 503
    assert ask(issued.text).status == 503
    older()
    passes(ask, issued)


def test_it_does_not_call_a_key_unknown_meanwhile(ask, issued, redis_db, older):
    redis_db.flushdb()
    ask(issued.text)
    older()
    passes(ask, issued)  # no "unknown" was remembered


def test_the_schema_is_looked_at_once_in_a_process_s_life(ask, issued, pro_key, redis_db, older, monkeypatch):
    older()
    redis_db.flushdb()
    passes(ask, issued)
    monkeypatch.setattr(migrating, "missing", lambda: pytest.fail("it was asked again"))
    passes(ask, pro_key)


def test_an_error_says_what_to_do(older):
    with pytest.raises(migrating.SchemaBehind, match=r"older than this code: run manage\.py set_up"):
        migrating.require_current()


def test_a_later_schema_is_read(older):
    older()
    migrating.require_current()
    assert migrating.missing() == []


# A table in use, while somebody migrates


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no locks of tables")
def test_a_migration_that_finds_a_table_in_use_ends_with_what_to_do(monkeypatch):
    def alter(*_: object, **__: object) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE accounts_user IN ACCESS EXCLUSIVE MODE")

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is not the command's
    monkeypatch.setattr(migrating, "call_command", alter)
    monkeypatch.setattr(migrating, "missing", lambda: ["accounts.9999_x"])
    monkeypatch.setattr(migrating, "STATEMENT_LOCK_SECONDS", 1)
    with _table_in_use(), pytest.raises(CommandError, match=r"A table was in use for more than 1 s.*pg_stat_activity"):
        call_command("set_up", only_schema=True)
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "0"
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone()[0] == 0


@contextmanager
def _table_in_use() -> Iterator[None]:
    used, done = Event(), Event()

    def use() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM accounts_user")
            used.set()
            done.wait(60)
        connection.close()

    thread = Thread(target=use)
    thread.start()
    wait_until(used.is_set, "the table being in use")
    try:
        yield
    finally:
        done.set()
        thread.join()
