"""PostgreSQL killed, stopped, and without room on its disk. docs/operations.md says what to do.

Keys that Redis knows are served all the while, by gates that start only then, and past midnight.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import pytest
import redis
import requests

from tests import postgres
from tests.gate.conftest import question
from tests.patient import PATIENT
from tests.servers import ROOT, gunicorn, redis_server, wait_until
from tests.service.test_postgres import Service, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgres.binaries() is None, reason="no PostgreSQL is installed here (initdb)"),
]

MODEL = "en_core_web_sm"
DISK = 192 * 1024 * 1024  # enough for a new cluster and its first tables
MOST_WRITES = 500  # before a page or a segment of the log has to be added
TRIES = 30
AMOUNT = 1_000_000  # units a month on the plan `pro`
DAYS_AGO = """
from accounts.facts.publish import models_base
from accounts.models import Account
from accounts.services.accounts import resume_account
from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from datetime import UTC, datetime
from quotas.models import PlanLimit
then = datetime(2020, 1, 1, tzinfo=UTC)
models_base(PlanLimit).update(counted_since=then)
models_base(Account).update(plan_since=then)
change_catalogue(lambda: ["as if made long ago"], actor=Actor("tests"))
for account in Account.objects.all():
    resume_account(account, actor=Actor("tests"))
"""


class Deployment(NamedTuple):
    service: Service  # gate and console
    cluster: postgres.Cluster
    folder: Path
    redis: redis.Redis


@contextmanager
def deployed(cluster: postgres.Cluster, folder: Path) -> Iterator[Deployment]:
    with (
        redis_server(folder) as socket,
        redis.Redis(unix_socket_path=str(socket), db=9, decode_responses=True) as client,
    ):
        service = Service(
            environment(cluster.url(), socket) | PATIENT | {"PYTHONPATH": str(ROOT)}, folder / "gunicorn.log"
        )
        service.prepare()
        service.key = service.manage("issue_key", "--account", "busy", "--plan", "pro", "--name", "b").stdout.split()[
            -1
        ]
        assert service.manage("shell", "-v", "0", "-c", DAYS_AGO).returncode == 0
        with gunicorn("authsvc.asgi:application", folder, "-c", "deploy/gunicorn.conf.py", env=service.env) as (
            port,
            _,
        ):
            service.where = f"http://127.0.0.1:{port}"
            wait_until(lambda: service.asked() == 200, "the gate deciding", seconds=60)
            yield Deployment(service, cluster, folder, client)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Iterator[Deployment]:
    with postgres.cluster() as cluster, deployed(cluster, tmp_path_factory.mktemp("db")) as one:
        yield one


def asked(where: str, key: str, times: int = TRIES) -> tuple[Counter[int], str]:
    """The statuses, and the last answer's header RateLimit."""
    headers = dict(question(key, x_forwarded_uri=f"/{MODEL}/ner"))
    answers = [requests.get(f"{where}/auth/?model={MODEL}", headers=headers, timeout=30) for _ in range(times)]
    return Counter(answer.status_code for answer in answers), answers[-1].headers.get("RateLimit", "")


@contextmanager
def another_gate(one: Deployment) -> Iterator[str]:
    """A gate that starts now and knows nothing."""
    env = one.service.env | {"AUTHSVC_SERVES": "gate", "WEB_CONCURRENCY": "1"}
    arguments = ("authsvc.asgi:application", one.folder, "-c", "deploy/gunicorn.conf.py")
    with gunicorn(*arguments, env=env, name="another") as (port, _):
        yield f"http://127.0.0.1:{port}"


def midnight_passes(client: redis.Redis) -> None:
    """All counters were of the window before the present one, and were loaded in it."""
    for name in client.scan_iter("*:a:*"):
        for raw in client.hkeys(name):
            field = str(raw)
            if field.startswith("w:"):
                client.hincrby(name, field, -1)
            elif field == "l" or field.startswith("l:"):
                client.hset(name, field, 1)


def pids_of(cluster: postgres.Cluster) -> list[int]:
    """The server's processes, its first one first."""
    first = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text()
    return [first, *(int(pid) for pid in children.split())]


def send(cluster: postgres.Cluster, number: signal.Signals) -> None:
    for pid in pids_of(cluster):
        os.kill(pid, number)


def kill(cluster: postgres.Cluster) -> None:
    pids = pids_of(cluster)
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids[1:]), "the server's end")


class Fault(NamedTuple):
    shatter: Callable[[postgres.Cluster], None]
    mend: Callable[[postgres.Cluster], None]


FAULTS = {
    "killed": Fault(kill, lambda cluster: cluster.ctl("start")),
    "stopped": Fault(lambda one: send(one, signal.SIGSTOP), lambda one: send(one, signal.SIGCONT)),
}


def left_of_the_month(ratelimit: str) -> int:
    found = re.search(r'"month";r=(\d+)', ratelimit)
    assert found is not None, ratelimit
    return int(found[1])


def is_told(one: Deployment) -> bool:
    """Whether console and API answer 503 and say why. Nobody else's answer counts."""
    page = requests.get(f"{one.service.where}/login/", cookies={"sessionid": "x" * 32}, timeout=60)
    answer = one.service.api("GET", "plans/")
    if {page.status_code, answer.status_code} != {503}:
        return False
    assert page.text == "503 Service Unavailable\nThe database is unavailable. Try again in a moment.\n"
    assert answer.json()["type"].endswith("/errors/unavailable")
    assert page.headers["Retry-After"] == answer.headers["Retry-After"] == "5"
    return True


def is_back(one: Deployment) -> bool:
    return one.service.sign_in().status_code == 302 and one.service.api("GET", "plans/").status_code == 200


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_no_decision_fails_while_the_database_is_gone(deployment: Deployment, fault: Fault):
    service, cluster, _, client = deployment
    assert is_back(deployment)
    before = left_of_the_month(asked(service.where, service.key, 5)[1])
    fault.shatter(cluster)
    try:
        warm, left = asked(service.where, service.key)
        assert (warm, left_of_the_month(left)) == ({200: TRIES}, before - TRIES)
        with another_gate(deployment) as cold:
            assert asked(cold, service.key)[0] == {200: TRIES}
            midnight_passes(client)
            statuses, left = asked(cold, service.key)
            assert (statuses, left_of_the_month(left)) == ({200: TRIES}, AMOUNT - TRIES)
            assert asked(service.where, service.key)[0] == {200: TRIES}
        assert is_told(deployment)
    finally:
        fault.mend(cluster)
    wait_until(lambda: is_back(deployment), "console and API recovering", seconds=60)
    assert "Traceback" not in service.log.read_text()


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own. Skips where mounting is not permitted."""
    folder = Path(mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has 107 bytes
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mounting, capture_output=True, text=True, check=False, timeout=20)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)
    finally:
        folder.rmdir()


def fill(disk: Path) -> Path:
    """A file that takes what is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1024 * 1024, 4096):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return filler


def test_a_full_disk_refuses_changes_in_words_and_no_decision(tmp_path):
    with small_disk() as disk, postgres.cluster(disk) as cluster, deployed(cluster, tmp_path) as one:
        service = one.service
        filler = fill(disk)
        wanted = {"name": "n" * 100, "plan": "free"}
        for number in range(MOST_WRITES):
            answer = service.api("PUT", f"accounts/by-external-id/cus_{number}", json=wanted)
            if answer.status_code == 503:
                break
            assert answer.status_code in (200, 201), answer.text
        assert answer.status_code == 503 and answer.json()["type"].endswith("/errors/unavailable"), answer.text
        assert answer.headers["Retry-After"] == "5"
        with another_gate(one) as cold:
            assert asked(cold, service.key)[0] == asked(service.where, service.key)[0] == {200: TRIES}
            midnight_passes(one.redis)
            assert asked(cold, service.key)[0] == {200: TRIES}
        assert "No space left on device" in service.log.read_text()
        filler.unlink()
        again = f"accounts/by-external-id/cus_{number}"
        wait_until(lambda: service.api("PUT", again, json=wanted).status_code == 201, "changes", seconds=60)
        assert is_back(one)
        assert "Traceback" not in service.log.read_text()
