"""What consoles and workers report about the database, the outbox and the worker's turns."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import ConnectionError as RedisAway

from accounts.ledger_worker import Turn
from accounts.measured import Turns, outbox
from accounts.models import OutboxRow
from runtime import measures, replica
from tests.servers import ROOT, free_port, redis_server, running, wait_until


def numbers(metrics):
    return {sample.name: sample.value for metric in metrics for sample in metric.samples}


@pytest.fixture
def _connection_stays(monkeypatch):
    """A test's connection holds what it rolls back."""
    monkeypatch.setattr("accounts.measured.connection.close", lambda: None)


@pytest.mark.django_db
def test_the_outbox_is_measured_by_its_oldest_change(_connection_stays):
    assert numbers(outbox()) == {
        "authsvc_database_up": 1,
        "authsvc_outbox_changes": 0,
        "authsvc_outbox_oldest_seconds": 0,
    }
    for minutes in (5, 1):
        row = OutboxRow.objects.create(part="key", subject="k" * 16, version=1)
        OutboxRow.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(minutes=minutes))
    found = numbers(outbox())
    assert found["authsvc_outbox_changes"] == 2
    assert 300 <= found["authsvc_outbox_oldest_seconds"] < 360


@pytest.mark.django_db
def test_a_database_that_is_away_is_reported_and_nothing_is_made_up(_connection_stays, monkeypatch):
    def fail(*_, **__):
        raise OperationalError("away")

    monkeypatch.setattr(OutboxRow.objects.__class__, "aggregate", fail)
    assert numbers(outbox()) == {"authsvc_database_up": 0}


def counted(name: str) -> int:
    return replica.totals()[name]


def test_a_turn_that_fails_is_counted_by_what_failed_and_leaves_the_time_of_the_last():
    turns = Turns()
    failed = f"{measures.TURNS.name} redis_failed", f"{measures.TURNS.name} database_failed"
    before = [counted(name) for name in failed]
    for error in (RedisAway(), OperationalError()):
        with pytest.raises(type(error)), turns.measured():
            raise error
    assert [counted(name) for name in failed] == [number + 1 for number in before]
    assert numbers(turns.metrics())["authsvc_worker_last_turn_timestamp_seconds"] == 0


def test_a_completed_turn_is_counted_with_what_it_did():
    turns = Turns()
    names = ["authsvc_worker_turns completed", "authsvc_published_parts changed", "authsvc_usage_copied"]
    before = [counted(name) for name in names]
    with turns.measured():
        pass
    turns.did(Turn(published=3, copied=5))
    assert [counted(name) - old for name, old in zip(names, before, strict=True)] == [1, 3, 5]
    assert numbers(turns.metrics())["authsvc_worker_last_turn_timestamp_seconds"] > 1e9


def test_a_worker_reports_what_fails_until_a_turn_is_complete_again():
    turns = Turns()
    assert turns.report() == {"copied_ago": None, "trouble": ""}
    for error, trouble in ((RedisAway(), "redis"), (OperationalError(), "database")):
        with pytest.raises(type(error)), turns.measured():
            raise error
        assert turns.report() == {"copied_ago": None, "trouble": trouble}
    with turns.measured():
        pass
    assert turns.report()["trouble"] == "" and turns.report()["copied_ago"] is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_away", [False, True])
def test_who_measures_the_outbox_keeps_no_connection(monkeypatch, is_away):
    """It runs in a thread of the server, which would keep one for each."""

    def fail(*_, **__):
        raise OperationalError("away")

    if is_away:
        monkeypatch.setattr(OutboxRow.objects.__class__, "aggregate", fail)
    connection.ensure_connection()
    outbox()
    assert connection.connection is None


@pytest.fixture
def worker_env(tmp_path):
    """A deployment of its own, set up."""
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "authsvc.settings",
        "SECRET_KEY": "s" * 40,
        "KEY_PEPPER": "p" * 40,
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "REDIS_URL": f"unix://{tmp_path}/redis.sock",
    }
    with redis_server(tmp_path):
        subprocess.run([sys.executable, "manage.py", "set_up"], cwd=ROOT, env=env, check=True, timeout=120)
        yield env


def page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def completed(port: int) -> float:
    families = {metric.name: metric for metric in text_string_to_metric_families(page(port, "/metrics"))}
    return sum(sample.value for sample in families["authsvc_worker_turns"].samples)


def test_the_worker_serves_its_metrics_beside_its_work(worker_env, tmp_path):
    port, log = free_port(), tmp_path / "worker.log"
    env = {**worker_env, "ADMIN_BIND": f"127.0.0.1:{port}"}
    with running([sys.executable, "manage.py", "keep_ledger"], env=env, log=log):
        wait_until(lambda: "keeping the ledger" in log.read_text(), "the worker starting")
        wait_until(lambda: completed(port) >= 2, "two turns")
        assert page(port, "/livez") == "alive\n"
        text = page(port, "/metrics")
        assert "authsvc_outbox_changes 0.0" in text and "authsvc_database_up 1.0" in text
        with pytest.raises(urllib.error.HTTPError, match="404"):
            page(port, "/readyz")


def test_a_worker_whose_address_is_taken_works_on(worker_env, tmp_path):
    log = tmp_path / "worker.log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        env = {**worker_env, "ADMIN_BIND": f"127.0.0.1:{taken.getsockname()[1]}"}
        with running([sys.executable, "manage.py", "keep_ledger"], env=env, log=log):
            wait_until(lambda: "keeping the ledger" in log.read_text(), "the worker starting")
        assert "cannot serve metrics" in log.read_text()
