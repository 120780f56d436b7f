"""Two gates, and what clients notice when one of them dies, hangs, comes or goes. The figures: docs/operations.md."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager

import pytest

from tests.compose.engine import docker
from tests.compose.traffic import steady
from tests.servers import wait_until

PATH = "/en_core_web_sm/health"
STOP = "import os, signal; os.kill(-1, signal.SIGSTOP)"  # every process of the container that is not its first
GO_ON = STOP.replace("SIGSTOP", "SIGCONT")


@pytest.fixture(scope="module")
def traffic(stack):
    """50 requests a second by four accounts, each far below its limit."""
    keys = stack.issue_keys(*[(f"steady{number}", "pro") for number in range(4)])

    @contextmanager
    def begin():
        with steady(f"http://127.0.0.1:{stack.port}", f"api.localhost:{stack.port}", PATH, keys) as calls:
            wait_until(lambda: len(calls.calls) > 150, "the first answers", 60)
            yield calls

    return begin


@pytest.fixture(autouse=True)
def _two_gates(stack):
    """Before and after each test Traefik uses two replicas."""
    yield
    for gate in stack.containers("gate"):
        docker("exec", gate, "python", "-c", GO_ON)
    stack.compose("up", "-d", "--no-deps", "--scale", "gate=2", "gate")
    wait_until(lambda: len(healthy(stack)) == 2, "two healthy gates", 120)
    time.sleep(1)  # for Traefik to have seen them


@pytest.fixture
def tell(capsys):
    """Print a figure to the terminal; it belongs in docs/operations.md."""

    def tell(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return tell


def healthy(stack):
    return [
        gate
        for gate in stack.containers("gate")
        if docker("inspect", "-f", "{{.State.Health.Status}}", gate).strip() == "healthy"
    ]


def busy(calls, at):
    """How slow the machine itself is: calls before anything happened, and how late we were in sending."""
    return max(calls.late, *(call.took for call in calls.calls if call.at + call.took < at))


def test_a_replica_that_is_killed_costs_five_calls_at_most_and_none_after_a_second(stack, traffic, tell):
    with traffic() as calls:
        at = time.monotonic()
        docker("kill", "--signal", "KILL", stack.containers("gate")[0])
        time.sleep(8)
    tell(f"kill -9: {calls.told(at)} (before: {busy(calls, at):.2f} s)")
    assert len(calls.failed()) <= 5, calls.told(at)
    assert not calls.failed(since=at + 1 + busy(calls, at)), calls.told(at)


def test_a_hanging_replica_makes_no_call_wait_two_seconds(stack, traffic, tell):
    gate = stack.containers("gate")[0]
    with traffic() as calls:
        at = time.monotonic()
        docker("exec", gate, "python", "-c", STOP)
        stopped = time.monotonic()
        time.sleep(8)
        going_on = time.monotonic()
        docker("exec", gate, "python", "-c", GO_ON)
    tell(f"SIGSTOP: {calls.told(at)} (before: {busy(calls, at):.2f} s; stopped within {stopped - at:.2f} s)")
    meanwhile = [call for call in calls.calls if at <= call.at < going_on]
    assert max(call.took for call in meanwhile) <= 2 + busy(calls, at), calls.told(at)
    assert all(call.status == 200 for call in meanwhile), calls.told(at)


def test_gates_come_and_go_and_the_console_is_replaced_without_a_failed_call(stack, traffic, tell):
    before = set(stack.containers("gate"))
    with traffic() as calls:
        at = time.monotonic()
        stack.compose("up", "-d", "--no-deps", "--no-recreate", "--scale", "gate=4", "gate")
        wait_until(lambda: len(healthy(stack)) == 4, "four healthy gates", 120)
        time.sleep(2)
        stack.compose("up", "-d", "--no-deps", "--no-recreate", "--scale", "gate=2", "gate")
        stack.compose("up", "-d", "--no-deps", "--force-recreate", "console")
        time.sleep(3)
    tell(f"2 → 4 → 2, console redeployed: {calls.told(at)}")
    assert set(stack.containers("gate")) == before
    assert not calls.failed(), calls.told(at)
