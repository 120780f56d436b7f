"""Which migrations are missing, and that only one start at a time applies them. In processes: authsvc/test_set_up.py."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from runtime import migrating

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def said() -> list[str]:
    return []


def test_only_one_at_a_time_sets_up_a_database(said):
    for _ in range(2):
        with (
            migrating.alone(0, said.append),
            pytest.raises(migrating.StillLocked),
            migrating.alone(0, said.append),
        ):
            pytest.fail("two at a time")
    assert said == []  # nobody had to wait for more than no time


def test_whoever_waits_for_another_start_says_so(monkeypatch, said):
    answers = iter([False, False, True])
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0)
    migrating._take(lambda: next(answers), 60, said.append)
    assert said == ["waiting for another start that is setting up this database"]


def test_whoever_fails_inside_lets_the_next_one_in(said):
    with pytest.raises(ZeroDivisionError), migrating.alone(0, said.append):
        raise ZeroDivisionError
    with migrating.alone(0, said.append):
        assert said == []


def test_a_migration_is_missing_if_it_is_of_this_code_and_not_applied():
    recorder = MigrationRecorder(connection)
    assert migrating.missing() == []
    app, name = migrating.of_this_code()[-1]
    recorder.record_applied(app, "9999_of_a_later_version")
    assert migrating.missing() == []
    recorder.record_unapplied(app, name)
    try:
        assert migrating.missing() == [f"{app}.{name}"]
    finally:
        recorder.record_applied(app, name)
        recorder.record_unapplied(app, "9999_of_a_later_version")
