"""A gate that was started while the database was away, and finds it older than its code."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from authsvc import schema

pytestmark = pytest.mark.django_db(transaction=True)

NEW = ("accounts", "9999_of_this_code")


@pytest.fixture
def older(monkeypatch, transactional_db):
    """The code has one migration more than the database. The value: somebody migrates."""
    ours = schema.of_this_code()
    monkeypatch.setattr(schema, "of_this_code", lambda: (*ours, NEW))
    schema.require_current.cache_clear()
    yield lambda: MigrationRecorder(connection).record_applied(*NEW)
    MigrationRecorder(connection).record_unapplied(*NEW)
    schema.require_current.cache_clear()


def test_it_serves_what_redis_knows(ask, issued, older):
    assert ask(issued.text).status == 200


def test_it_reads_no_facts_from_the_older_schema_and_goes_on_once_somebody_has_migrated(ask, issued, redis_db, older):
    redis_db.flushdb()
    assert ask(issued.text).status == 503
    assert ask(issued.text).status == 503
    older()
    assert ask(issued.text).status == 200


def test_it_does_not_call_a_key_unknown_meanwhile(ask, issued, redis_db, older):
    redis_db.flushdb()
    ask(issued.text)
    older()
    assert ask(issued.text).status == 200  # no "unknown" was remembered


def test_the_schema_is_looked_at_once_in_a_process_s_life(ask, issued, pro_key, redis_db, older, monkeypatch):
    older()
    redis_db.flushdb()
    assert ask(issued.text).status == 200
    monkeypatch.setattr(schema, "missing", lambda: pytest.fail("it was asked again"))
    assert ask(pro_key.text).status == 200


def test_what_is_wrong_says_what_to_do(older):
    with pytest.raises(schema.SchemaBehind, match=r"older than this code: manage\.py set_up brings it up to date"):
        schema.require_current()


def test_a_later_schema_is_read(older):
    older()
    schema.require_current()
    assert schema.missing() == []
