"""Processes report themselves to Redis: what is written, what is read, and what is forgotten."""

from __future__ import annotations

import json
import os
import sys

import pytest

from accounts.ledger_worker import Worker
from quotas import deployment
from runtime import replica
from runtime.processes import ENDED, KEPT_SECONDS, SERVING, OwnReport, ReportsBeside, read_processes
from store import clients, names
from tests.gate.test_fronts import environment
from tests.servers import gunicorn, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ours(redis_db) -> str:
    return deployment.claim()


def say(report: OwnReport, whose: str, state: str = SERVING, **more) -> int:
    return int(report.call(whose, state, **more).run(clients.sync_client()))


def age(seconds: int) -> None:
    """Make all reports older."""
    client = clients.sync_client()
    for process, text in client.hgetall(names.PROCESSES).items():
        second, _, told = text.partition(" ")
        client.hset(names.PROCESSES, process, f"{int(second) - seconds} {told}")


def test_a_report_is_read_as_it_was_made(ours, settings):
    assert say(OwnReport(["gate"]), ours) == 1
    (found,) = read_processes()
    assert (found.serves, found.version, found.replica, found.state) == (
        ("gate",),
        settings.VERSION,
        replica.IDENTITY,
        SERVING,
    )
    assert found.host and found.heard_ago <= 60 and found.copied_ago is None


def test_the_next_process_in_a_seat_replaces_the_report_of_the_one_before(ours):
    say(OwnReport(["gate"]), ours)
    say(OwnReport(["gate", "console"]), ours)
    assert [one.serves for one in read_processes()] == [("gate", "console")]


def test_nothing_is_written_into_the_redis_of_another_deployment(ours):
    clients.sync_client().set(names.DEPLOYMENT, "another")
    assert say(OwnReport(["gate"]), ours) == 0 and read_processes() == []


def test_a_report_is_forgotten_after_a_day_and_a_later_one_keeps_the_others(ours):
    say(OwnReport(["gate"]), ours)
    age(KEPT_SECONDS - 100)
    assert read_processes()[0].heard_ago >= KEPT_SECONDS - 100
    age(200)
    assert read_processes() == [] and not clients.sync_client().exists(names.PROCESSES)


def test_a_report_from_before_the_clock_was_set_back_is_one_of_now(ours):
    say(OwnReport(["gate"]), ours)
    age(-600)
    assert [one.heard_ago for one in read_processes()] == [0]


def test_all_reports_expire_once_nobody_reports(ours):
    say(OwnReport(["gate"]), ours)
    assert 0 < clients.sync_client().ttl(names.PROCESSES) <= KEPT_SECONDS


@pytest.mark.parametrize("text", ["[]", "{", '{"serves": 3}', "null"])
def test_a_report_that_makes_no_sense_is_left_out(ours, text):
    client = clients.sync_client()
    say(OwnReport(["gate"]), ours)
    client.hset(names.PROCESSES, "odd", f"{client.time()[0]} {text}")
    client.hset(names.PROCESSES, "odder", text)
    assert [one.serves for one in read_processes()] == [("gate",)]
    assert client.hget(names.PROCESSES, "odder") is None


def test_a_version_that_says_more_is_understood(ours):
    report = json.dumps({"serves": ["gate"], "version": "9.0.0", "moon": "full"})
    clients.sync_client().hset(names.PROCESSES, "new", f"{clients.sync_client().time()[0]} {report}")
    assert [one.version for one in read_processes()] == ["9.0.0"]


def test_a_worker_reports_how_its_turns_go_until_it_ends(ours, catalogue):
    worker = Worker()
    reports = ReportsBeside(lambda: worker.deployment, worker.report)
    reports.begin()
    assert read_processes() == []
    worker.turn()
    reports.end()
    (found,) = read_processes()
    assert (found.serves, found.state) == (("worker",), ENDED) and found.swept_ago is not None


def serving() -> list[tuple[tuple[str, ...], str]]:
    return sorted((one.serves, one.state) for one in read_processes())


@pytest.mark.slow
def test_real_processes_report_while_they_run_and_say_goodbye(ours, tmp_path):
    env = environment() | {"WEB_CONCURRENCY": "2", "AUTHSVC_SERVES": "gate"}
    both = ("authsvc.asgi:application", tmp_path, "-c", "deploy/gunicorn.conf.py")
    with gunicorn(*both, env=env, name="gates"):
        wait_until(lambda: serving() == [(("gate",), SERVING)] * 2, "two gates")
        assert len({one.replica for one in read_processes()}) == 1
        with gunicorn(*both, env=env | {"AUTHSVC_SERVES": "console", "WEB_CONCURRENCY": "1"}, name="consoles"):
            wait_until(lambda: (("console",), SERVING) in serving(), "a console")
        wait_until(lambda: (("console",), ENDED) in serving(), "its end")
    wait_until(lambda: [state for _, state in serving()] == [ENDED] * 3, "the end of the gates")


@pytest.mark.slow
def test_a_real_worker_reports_how_far_it_is(ours, catalogue, tmp_path):
    keeping = [sys.executable, "manage.py", "keep_ledger"]
    with running(keeping, env={**os.environ, **environment()}, log=tmp_path / "worker.log") as process:
        wait_until(lambda: any(one.copied_ago is not None for one in read_processes()), "a report of a turn")
        assert [one.trouble for one in read_processes()] == [""]
        process.kill()
        process.wait()
    assert serving() == [(("worker",), SERVING)]  # nobody knows yet: its age will tell
