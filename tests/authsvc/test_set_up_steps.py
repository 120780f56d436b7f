"""The steps of manage.py set_up and their order, in this process. In processes of its own: test_set_up.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from redis.exceptions import ConnectionError as RedisAway

from accounts.services.keys import issue_key
from authsvc.management.commands import set_up
from quotas import deployment
from quotas.models import ServedModel
from runtime import migrating
from runtime.waiting import Away
from store import names
from store.condition import Condition
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

CATALOGUE = '[models.tiny]\n[plans.free]\nmodels = ["tiny"]\n'


@pytest.fixture(autouse=True)
def _handler_stays() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(tmp_path):
    """Run the command; what it printed on stdout and stderr."""
    (tmp_path / "catalogue.toml").write_text(CATALOGUE)

    def run(*words: str, **options: Any) -> str:
        out = StringIO()
        call_command("set_up", *words, **{"catalogue": tmp_path / "catalogue.toml", **options}, stdout=out, stderr=out)
        return out.getvalue()

    return run


@pytest.fixture
def steps(monkeypatch) -> list[str]:
    """The steps that are taken, of which none is really taken."""
    taken: list[str] = []

    def note(step: str) -> Callable[..., None]:
        return lambda *_, **__: taken.append(step)

    @contextmanager
    def alone(seconds: float, _) -> Iterator[None]:
        taken.append(f"lock {seconds:g}")
        yield
        taken.append("unlock")

    monkeypatch.setattr(set_up, "wait_until", lambda why_not, **options: taken.append(f"wait {options['seconds']:g}"))
    monkeypatch.setattr(migrating, "alone", alone)
    monkeypatch.setattr(migrating, "missing", lambda: ["accounts.0099_more"])
    monkeypatch.setattr(migrating, "migrate", note("migrate"))
    monkeypatch.setattr(deployment, "claim", note("claim"))
    monkeypatch.setattr(set_up, "call_command", lambda name, *_, **__: taken.append(name))
    monkeypatch.setattr(os, "execvp", lambda program, _: taken.append(program))
    return taken


def test_redis_is_claimed_before_a_catalogue_is_applied_and_all_of_it_under_the_lock(redis_db, run, steps):
    run(wait=3, lock_wait=5)
    assert steps == ["wait 3", "wait 3", "lock 5", "migrate", "claim", "apply_catalogue", "unlock"]


@pytest.mark.parametrize("option", ["only_schema", "start_anyway"])
def test_before_a_program_only_the_schema_is_brought_up_to_date(redis_db, run, steps, monkeypatch, option):
    run("program", **{option: True})
    assert steps == ["wait 60", "lock 600", "migrate", "unlock", "program"]
    steps.clear()
    monkeypatch.setattr(migrating, "missing", list)
    run("program", **{option: True})
    assert steps == ["wait 60", "program"]  # nobody who is migrating keeps it waiting


def test_a_redis_of_another_deployment_gets_no_catalogue(redis_db, run):
    redis_db.set(names.DEPLOYMENT, "theirs")
    with pytest.raises(CommandError, match="holds the data of another deployment"):
        run()
    assert not ServedModel.objects.exists()
    assert redis_db.keys() == [names.DEPLOYMENT]


def test_a_redis_that_goes_away_after_it_answered_leaves_the_catalogue_to_be_published_later(
    redis_db, run, steps, monkeypatch
):
    def fail() -> None:
        raise RedisAway

    monkeypatch.setattr(deployment, "claim", fail)
    assert "Redis cannot be reached" in run()
    assert "apply_catalogue" in steps


def test_every_secret_of_a_lost_pepper_is_counted(account, issued, run, settings):
    issue_key(account, name="second", actor=ACTOR)
    settings.KEY_PEPPER = "another-pepper-" + "y" * 40
    assert "2 key secrets were made with a KEY_PEPPER that is no longer set" in run()


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_one_master_that_hides_its_policy_is_enough_for_a_warning(redis_db, run, monkeypatch, unknown):
    found = [Condition(None)] * unknown + [Condition("noeviction")] * (2 - unknown)
    monkeypatch.setattr(set_up, "conditions", lambda: found)
    assert ("does not report its maxmemory-policy" in run()) is bool(unknown)


def test_one_master_that_forgets_is_enough_for_a_refusal(redis_db, run, monkeypatch):
    monkeypatch.setattr(set_up, "conditions", lambda: [Condition("noeviction"), Condition("allkeys-lru")])
    with pytest.raises(CommandError, match="allkeys-lru"):
        run()
    assert not ServedModel.objects.exists()


@pytest.mark.parametrize("program", [[], ["program"]])
def test_a_store_that_stays_away_stops_everything_but_a_gate(redis_db, run, steps, monkeypatch, program):
    def stay_away(*_, **__) -> None:
        raise Away("The database is away.")

    monkeypatch.setattr(set_up, "wait_until", stay_away)
    with pytest.raises(CommandError, match=r"The database is away\. Waited for 7 s\."):
        run(*program, wait=7)
    assert steps == []
    if program:
        assert "The database is away. Starting without it" in run(*program, start_anyway=True)
        assert steps == program


def test_starting_anyway_needs_something_to_start(redis_db, run, steps):
    with pytest.raises(CommandError, match="needs a program"):
        run(start_anyway=True)
    assert steps == []


def test_the_program_inherits_no_connection_to_the_database(redis_db, run, monkeypatch):
    started: list[tuple[list[str], bool]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: started.append((words, connection.connection is None)))
    run("program", "a b", only_schema=True)
    assert started == [(["program", "a b"], True)]


def test_a_program_that_is_missing_is_named(redis_db, run):
    with pytest.raises(CommandError, match=r"/no/such/program cannot be started: No such file"):
        run("/no/such/program", only_schema=True)


def test_a_sigterm_ends_it_with_the_status_of_one(redis_db, run, steps):
    run()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143


def test_no_link_for_a_first_operator_is_printed_once_there_is_one(redis_db, run, operator):
    assert "First operator" not in run()


def test_a_link_for_the_first_operator_is_printed_as_long_as_there_is_none(redis_db, run):
    for _ in range(2):
        assert "First operator  http" in run()
