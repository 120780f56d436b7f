"""Whether a test run is still alive, which decides whether what bears its name may be removed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from uuid import uuid4

import pytest

from tests import killed_runs
from tests.servers import ROOT

HOLD = (
    "import sys, time; from tests import killed_runs; print(killed_runs.hold(sys.argv[1]), flush=True); time.sleep(600)"
)


@contextmanager
def another_process_holds(run):
    """Yields it, and what it was told: True if it has the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, run], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip() == "True"
        finally:
            process.kill()


@pytest.fixture
def run():
    run = f"authsvc-test-{uuid4().hex}"
    yield run
    killed_runs.forget(run)


def test_a_run_lives_until_its_process_ends_however_it_ends(run):
    assert not killed_runs.lives(run)
    with another_process_holds(run) as (process, holds):
        assert holds
        assert killed_runs.lives(run)
        process.kill()
        process.wait(30)
        assert not killed_runs.lives(run)


def test_a_run_is_held_once(run):
    with another_process_holds(run) as (process, holds):
        assert holds
        assert not killed_runs.hold(run)
        process.kill()
        process.wait(30)
        assert killed_runs.hold(run)
    with another_process_holds(run) as (_, holds):
        assert not holds


def test_looking_at_a_run_does_not_take_it(run):
    with another_process_holds(run) as (process, _):
        process.kill()
        process.wait(30)
    assert not killed_runs.lives(run)
    assert not killed_runs.lives(run)
    assert killed_runs.hold(run)
    assert killed_runs.lives(run), "a run knows that it lives itself"
