"""PostgreSQL in practice: restarted, read-only after a failover, behind a pooler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests import postgres
from tests.gate.conftest import question
from tests.servers import ROOT, gunicorn, redis_server, running, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgres.binaries() is None, reason="no PostgreSQL is installed here (initdb)"),
]

OPERATOR = """
from accounts.services.credentials import OPERATOR_SCOPES, make_operator_token
from accounts.models import User
from accounts.services.acts import Actor
User.objects.create_superuser("root", "root@example.org", "a-good-password")
print("TOKEN", make_operator_token(name="o", scopes=OPERATOR_SCOPES, actor=Actor("tests"))[1])
"""


@dataclass
class Service:
    env: dict[str, str]
    log: Path
    where: str = ""
    token: str = ""
    key: str = ""

    def manage(self, *command: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            input=feed,
            check=False,
        )

    def prepare(self) -> None:
        """Tables, a catalogue, an operator and a key."""
        for command in (["set_up"], ["issue_key", "--account", "acme", "--plan", "free", "--name", "first"]):
            done = self.manage(*command)
            assert done.returncode == 0, done.stderr
        self.key = done.stdout.split()[-1]
        self.token = self.manage("shell", "-v", "0", "-c", OPERATOR).stdout.split("TOKEN ")[1].strip()

    def api(self, method: str, path: str, **more: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}  # type: ignore[dict-item]
        return requests.request(method, f"{self.where}/api/v1/{path}", headers=headers, timeout=30, **more)  # type: ignore[arg-type]

    def asked(self) -> int:
        pinned = dict(question(self.key, x_forwarded_uri="/en_core_web_sm/ner"))
        return requests.get(f"{self.where}/auth/?model=en_core_web_sm", headers=pinned, timeout=30).status_code

    def sign_in(self) -> requests.Response:
        browser = requests.Session()
        browser.get(f"{self.where}/login/", timeout=30)
        form = {"username": "root", "password": "a-good-password", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        return browser.post(f"{self.where}/login/", data=form, timeout=30, allow_redirects=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as one:
        yield one


def environment(url: str, redis: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "authsvc.settings",
        "SECRET_KEY": "s" * 40,
        "KEY_PEPPER": "p" * 40,
        "DATABASE_URL": url,
        "REDIS_URL": f"unix://{redis}?db=9",
        "ALLOWED_HOSTS": "*",
        "WEB_CONCURRENCY": "2",
        "AUTHSVC_DRAIN": "0",
        "AUTHSVC_IMPORTED_KEYS": "1",
    }


@pytest.fixture(scope="module")
def service(cluster, tmp_path_factory) -> Iterator[Service]:
    """The product on that cluster, with its own Redis."""
    folder = tmp_path_factory.mktemp("pg")
    with redis_server(folder) as redis:
        one = Service(environment(cluster.url(), redis), folder / "gunicorn.log")
        one.prepare()
        with gunicorn("authsvc.asgi:application", folder, "-c", "deploy/gunicorn.conf.py", env=one.env) as (port, _):
            one.where = f"http://127.0.0.1:{port}"
            yield one


@pytest.fixture
def read_only(cluster):
    cluster.read_only(True)
    yield
    cluster.read_only(False)


def test_a_read_only_database_is_503_and_one_sentence(service, cluster, read_only):
    wait_until(lambda: service.sign_in().status_code == 503, "a read-only database noticed")
    page = service.sign_in()
    assert (page.headers["Retry-After"], page.headers["Content-Type"]) == ("5", "text/plain; charset=utf-8")
    assert page.text == "503 Service Unavailable\nThe database is unavailable. Try again in a moment.\n"
    answer = service.api("PUT", "accounts/by-external-id/cus_1", json={"name": "new", "plan": "free"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["type"].endswith("/errors/unavailable")
    assert service.api("GET", "plans/").status_code in (200, 503)  # a credential's use is noted once a minute
    assert service.asked() == 200
    done = service.manage("issue_key", "--account", "new", "--plan", "free", "--name", "x")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "The database is read-only: it is a replica, or has become one" in done.stderr
    cluster.read_only(False)
    wait_until(lambda: service.sign_in().status_code == 302, "the database written again")
    assert "Traceback" not in service.log.read_text()


def test_the_next_request_after_a_restart_works(service, cluster):
    assert service.sign_in().status_code == 302
    assert service.asked() == 200
    cluster.ctl("stop")
    try:
        assert service.asked() == 200  # Redis knows the key
        page, answer = service.sign_in(), service.api("GET", "plans/")
        assert (page.status_code, answer.status_code) == (503, 503)
        assert page.headers["Retry-After"] == answer.headers["Retry-After"] == "5"
        done = service.manage("issue_key", "--account", "new", "--plan", "free", "--name", "x")
        assert (
            done.returncode == 1
            and "The database cannot be reached (" in done.stderr
            and "Traceback" not in done.stderr
        )
    finally:
        cluster.ctl("start")
    assert service.api("GET", "plans/").status_code == 200
    assert service.sign_in().status_code == 302
    for _ in range(8):  # both workers, and each of a gate's threads with a connection from before
        key = service.manage("issue_key", "--account", "acme", "--name", "n").stdout.split()[-1]
        assert key.startswith("ask_")
    assert "Traceback" not in service.log.read_text()


def test_look_ups_of_the_gate_go_on_after_a_restart(service, cluster):
    """Their connections persist, so the first lookup after the restart finds a dead one."""
    import redis

    with redis.Redis(unix_socket_path=service.env["REDIS_URL"].removeprefix("unix://").partition("?")[0]) as client:
        for _ in range(2):
            client.flushall()
            wait_until(lambda: service.asked() == 200, "a look-up in the database")
        cluster.ctl("restart")
        client.flushall()
        statuses = [service.asked() for _ in range(3)]
    assert statuses[-1] == 200, statuses


def test_the_worker_goes_on_after_a_restart_and_a_failover(service, cluster, tmp_path):
    log = tmp_path / "worker.log"
    with running([sys.executable, "manage.py", "keep_ledger"], env=service.env, log=log):
        wait_until(lambda: "keeping the ledger" in log.read_text(), "the worker's start")
        cluster.ctl("restart")
        wait_until(lambda: "recovered from" in log.read_text(), "the worker going on")
    assert "Traceback" not in log.read_text()


@pytest.mark.skipif(postgres.PGBOUNCER is None, reason="no PgBouncer is installed here")
def test_everything_works_behind_a_pooler_of_transactions(cluster, tmp_path):
    cluster.sql("CREATE DATABASE pooled")
    with postgres.pooler(cluster) as url, redis_server(tmp_path) as redis:
        one = Service(environment(url, redis), tmp_path / "gunicorn.log")
        starts = [
            subprocess.Popen([sys.executable, "manage.py", "set_up"], cwd=ROOT, env=one.env, stdout=-3, stderr=-3)
            for _ in range(2)
        ]
        assert [start.wait(180) for start in starts] == [0, 0]
        one.prepare()
        with gunicorn("authsvc.asgi:application", tmp_path, "-c", "deploy/gunicorn.conf.py", env=one.env) as (port, _):
            one.where = f"http://127.0.0.1:{port}"
            assert one.asked() == 200 and one.sign_in().status_code == 302
            account = one.api("GET", "accounts/").json()["results"][0]["id"]
            wanted = {"name": "by idempotency", "account": account}
            made = [one.api("POST", "keys/", json=wanted, headers={"Idempotency-Key": "one"}) for _ in range(2)]
            assert [answer.status_code for answer in made] == [201, 201], made[0].text
            assert made[0].json()["key"] == made[1].json()["key"]
            lines = b"name,key\n" + b"".join(b"n%d,key-of-another-system-%08d\n" % (i, i) for i in range(1200))
            headers = {"Content-Type": "text/csv"}
            job = one.api("POST", f"imports/?account={account}", data=lines, headers=headers).json()
            for _ in range(20):
                done = one.manage("keep_ledger", "--once")
                assert done.returncode == 0, done.stderr
                if one.api("GET", f"imports/{job['id']}/").json()["state"] == "done":
                    break
            report = one.api("GET", f"imports/{job['id']}/report/?outcome=all&format=csv")
            assert report.text.count("\n") == 1201
            assert one.api("GET", f"accounts/{account}/export/").json()["keys"][0]["id"]
            with redis_flushed(redis):
                assert "published" in one.manage("keep_ledger", "--once").stdout
            assert one.asked() == 200
        assert "Traceback" not in one.log.read_text()
    assert not re.search("cursor .* does not exist|prepared statement", (cluster.folder / "server.log").read_text())


def redis_flushed(path: Path):
    import redis

    client = redis.Redis(unix_socket_path=str(path))
    client.flushall()
    return client
