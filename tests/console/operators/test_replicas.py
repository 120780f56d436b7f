"""What the front page says of gates, consoles and workers, from what they reported."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts.ledger_worker import Worker
from console.operators import condition
from console.operators.condition import ServiceCondition
from console.operators.replicas import ALARM_SECONDS, SHOWN_SECONDS, SILENT_SECONDS, roll_call
from runtime.processes import ENDED, STOPPING, OwnReport, ReportedProcess
from store import clients
from store.examination import Examination
from tests.console.operators.test_front import words

pytestmark = pytest.mark.django_db


def gate(heard_ago: int = 1, **more) -> ReportedProcess:
    return ReportedProcess(**{"heard_ago": heard_ago, "serves": ("gate",), "version": "1.0.0", "running": 60, **more})


def worker(heard_ago: int = 1, **more) -> ReportedProcess:
    return gate(heard_ago, **{"serves": ("worker",), "copied_ago": 1.0, "swept_ago": 9.0, **more})


def badges(*reports: ReportedProcess) -> list[tuple[str, int, str]]:
    return [(str(one.name), one.processes, str(one.badge[1])) for one in roll_call(reports, timezone.now()).replicas]


def test_processes_of_a_replica_are_one_row():
    assert badges(gate(replica="a"), gate(replica="a"), gate(replica="b")) == [
        ("Gate", 2, "Running"),
        ("Gate", 1, "Running"),
    ]


def test_gates_come_before_consoles_and_workers():
    both = gate(serves=("gate", "console"), replica="c")
    found = badges(worker(replica="w"), gate(serves=("console",), replica="b"), both, gate(replica="a"))
    assert [name for name, _, _ in found] == ["Gate", "Console", "Gate and console", "Worker"]


def test_during_an_update_the_older_ones_are_told_apart():
    found = roll_call([gate(replica="a", version="1.9.0"), gate(replica="b", version="1.10.0")], timezone.now())
    assert sorted((one.version, str(one.badge[1])) for one in found.replicas) == [
        ("1.10.0", "Running"),
        ("1.9.0", "Older version"),
    ]
    assert found.older == 1


def test_a_replica_that_is_reloaded_shows_both_of_its_versions():
    reports = [gate(replica="a", version="1.0.0", state=STOPPING), gate(replica="a", version="1.1.0")]
    assert badges(*reports) == [("Gate", 1, "Stopping"), ("Gate", 1, "Running")]


def test_a_gate_that_fell_silent_is_shown_for_a_while_and_one_that_ended_is_not():
    assert badges(gate(SILENT_SECONDS + 1)) == [("Gate", 0, "Silent")]
    assert badges(gate(SHOWN_SECONDS + 1)) == [] and badges(gate(state=ENDED)) == []
    assert roll_call([gate(SILENT_SECONDS + 1)], timezone.now()).gates == []


def test_a_silent_newer_version_makes_nobody_older():
    found = badges(gate(replica="a"), gate(SILENT_SECONDS + 1, replica="b", version="2.0.0"))
    assert sorted(words for _, _, words in found) == ["Running", "Silent"]


@pytest.mark.parametrize(
    ("reports", "said", "alarms"),
    [
        ([], "Not heard of", True),
        ([worker()], "Running", False),
        ([worker(copied_ago=90.0)], "Behind", False),
        ([worker(copied_ago=None, running=5)], "Running", False),
        ([worker(copied_ago=None, running=90)], "Behind", False),
        ([worker(trouble="database")], "In trouble", False),
        ([worker(SILENT_SECONDS + 1)], "Silent", False),
        ([worker(ALARM_SECONDS)], "Silent", True),
        ([worker(ALARM_SECONDS, replica="old"), worker(replica="new")], "Running", False),
        ([worker(copied_ago=500.0, replica="hangs"), worker(replica="new")], "Running", False),
        ([worker(state=ENDED)], "Not heard of", True),
    ],
)
def test_the_state_of_the_worker(reports, said, alarms):
    state = roll_call(reports, timezone.now()).worker
    assert (str(state.words), state.is_alarming) == (said, alarms)


def shown(monkeypatch, operator, *reports: ReportedProcess) -> str:
    monkeypatch.setattr(condition, "_ask", lambda: ServiceCondition(Examination(), list(reports)))
    return words(operator.get("/admin/"))


def test_the_page_says_who_runs_and_how_far_the_worker_is(operator, account, monkeypatch):
    page = shown(monkeypatch, operator, gate(host="gate-1"), worker(host="worker-1"))
    assert "Gates 1 replica All run the same version." in page
    assert "Worker Running Usage was copied just now" in page
    assert "Gate gate-1 Running 1.0.0 1 minute ago just now" in page and "Worker worker-1 Running" in page


def test_a_worker_that_is_silent_for_five_minutes_has_a_note_with_what_to_do(operator, account, monkeypatch):
    page = shown(monkeypatch, operator, gate(), worker(360))
    assert "The worker fell silent 6 minutes ago" in page and "Check that manage.py keep_ledger runs" in page
    assert "Check that manage.py keep_ledger runs" not in shown(monkeypatch, operator, gate(), worker())


def test_without_redis_nobody_can_tell_who_runs(operator, account, redis_away):
    with redis_away():
        page = words(operator.get("/admin/"))
    assert "Gates Unknown" in page and "Worker Unknown" in page and "What runs" not in page


@pytest.mark.django_db(transaction=True)
def test_what_processes_report_is_what_the_page_shows(operator, account):
    keeping = Worker()
    keeping.turn()
    assert keeping.deployment is not None
    OwnReport(["worker"]).call(keeping.deployment, "serving", copied_ago=0.1).run(clients.sync_client())
    assert "Worker Running Usage was copied just now" in words(operator.get("/admin/"))
