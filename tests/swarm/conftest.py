"""A one-node swarm with the stacks of deploy/swarm, starting with the previous commit.

Only where it is asked for (`pytest -m swarm`, `make stack-swarm`): it needs a Docker engine, which it makes a swarm if
it is none yet, and some minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.swarm.cluster import API, CONSOLE, OURS, REPOSITORY, Cluster, earlier_commit
from tests.swarm.engine import docker, wait_for, why_not
from tests.swarm.traffic import Asked, Traffic

NOW = "now"
AFTERWARDS = 3  # seconds of traffic after the action


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if reason := why_not():
        pytest.skip(f"SKIPPED: no test on a swarm, because {reason}")
    cluster = Cluster(tmp_path_factory.mktemp("swarm"))
    cluster.claim()
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()


@dataclass(frozen=True)
class Step:
    """The results of requests while something was done to the stacks."""

    traffic: Traffic
    seconds: float

    @property
    def failures(self) -> list[str]:
        """None may fail. Up to one late answer in 200 says more about the machine than the stack."""
        too_many = [f"{self.traffic.late} too late"] if self.traffic.late > self.traffic.asked / 200 else []
        return self.traffic.failures[:20] + too_many


@pytest.fixture(scope="session")
def under_traffic(cluster, pytestconfig):
    """Do something while a model and the console get constant requests, and print the results."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def under_traffic(what: str, do: Callable[[], object]) -> Step:
        kinds = (
            Asked(API, "/en_core_web_sm/health", (("Authorization", f"Bearer {cluster.key}"),)),
            Asked(CONSOLE, "/login/"),
        )
        began = time.monotonic()
        with Traffic(cluster.port, kinds) as traffic:
            do()
            time.sleep(AFTERWARDS)
        step = Step(traffic, time.monotonic() - began - AFTERWARDS)
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{what}: {step.seconds:.0f} s, {traffic.told()}\n")
        return step

    return under_traffic


# The story: the earlier commit, the update, back and forth once. What comes after `now` begins with this commit running
# whole and leaves it so, in any order.


@pytest.fixture(scope="session")
def earlier(cluster):
    """The previous commit, with models behind it and a working key."""
    commit = earlier_commit()
    if commit is None:
        pytest.skip("SKIPPED: git has no earlier commit with these stacks that makes another image")
    cluster.deploy_first(commit)
    cluster.start_models(NOW)
    return commit[:12]


@pytest.fixture(scope="session")
def update(cluster, earlier, under_traffic):
    """From the earlier commit to this one."""
    cluster.build(NOW)
    return under_traffic("update", lambda: cluster.deploy(NOW))


@pytest.fixture(scope="session")
def rollback(cluster, earlier, update, under_traffic):
    """Roll back by hand, then forward again."""
    before = {}

    def back():
        cluster.run("## Rollback")
        before.update({name: cluster.runs(name, earlier) for name in OURS})
        wait_for(lambda: not cluster.updating(), "the rollback", 600)

    step = under_traffic("rollback by hand", back)
    cluster.deploy(NOW)
    return step, before


@pytest.fixture(scope="session")
def now(cluster, rollback):
    """This commit, after an update and a rollback: the start of everything else."""
    return cluster


@pytest.fixture(scope="session")
def broken_image(now, under_traffic):
    """An image whose programs exit at once."""
    dockerfile = f"FROM {REPOSITORY}:{NOW}\nUSER root\nRUN rm manage.py\nUSER authsvc\n"
    docker("build", "-q", "-t", f"{REPOSITORY}:broken", "-", given=dockerfile.encode())
    docker("tag", f"{REPOSITORY}:{NOW}-errors", f"{REPOSITORY}:broken-errors")
    step = under_traffic("update to a broken image", lambda: now.deploy_in_vain("broken"))
    return step, {service: now.update_state(service) for service in OURS}


@pytest.fixture(scope="session")
def wrong_redis(now, under_traffic):
    """Gates that start but never become ready, because Redis's address is wrong."""
    docker("secret", "create", "authsvc_REDIS_URL_wrong", "-", given=b"redis://nowhere.invalid:6379/0")
    step = under_traffic(
        "update to a wrong address of Redis",
        lambda: now.deploy_in_vain(NOW, REDIS_URL_SECRET="authsvc_REDIS_URL_wrong"),
    )
    states = {service: now.update_state(service) for service in ("gate", "console", "worker")}
    now.deploy(NOW)  # `discover` needs no Redis to start, and went forward
    return step, states
