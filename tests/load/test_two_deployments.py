"""Two deployments on one Redis: the second is refused everywhere, and a prefix keeps them apart."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
import redis
import requests

from tests.gate.conftest import question
from tests.servers import ROOT, free_port, gunicorn, redis_server, wait_until

pytestmark = pytest.mark.slow

CATALOGUES = {
    "production": '[models.sm]\n[models.lg]\n[plans.free]\nmodels = ["sm", "lg"]\n',
    "staging": '[models.sm]\n[plans.free]\nmodels = ["sm"]\n',
}


class Deployment:
    """One with a database, secrets and a catalogue of its own."""

    def __init__(self, name: str, folder, redis_url: str, prefix: str = "") -> None:
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        self.catalogue = self.folder / "catalogue.toml"
        self.catalogue.write_text(f'default_plan = "free"\n{CATALOGUES[name]}')
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("AUTHSVC_", "DJANGO_", "DEBUG"))
        } | {
            "SECRET_KEY": f"secret-of-{name}-" + "x" * 40,
            "KEY_PEPPER": f"pepper-of-{name}-" + "x" * 40,
            "DATABASE_URL": f"sqlite:///{self.folder}/db.sqlite3",
            "REDIS_URL": redis_url,
            "AUTHSVC_REDIS_PREFIX": prefix,
            "AUTHSVC_CATALOGUE": str(self.catalogue),
            "AUTHSVC_SERVES": "gate",
            "AUTHSVC_DRAIN": "0",
            "WEB_CONCURRENCY": "1",
        }

    def manage(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *args]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=180, check=False)

    def key(self) -> str:
        issued = self.manage("issue_key", "--account", "acme", "--name", "k")
        assert issued.returncode == 0, issued.stderr
        return issued.stdout.strip()

    def gate(self, stack: ExitStack) -> Gate:
        admin = free_port()
        env = self.env | {"ADMIN_BIND": f"127.0.0.1:{admin}", "DJANGO_SETTINGS_MODULE": "authsvc.settings"}
        port, _ = stack.enter_context(
            gunicorn(
                "authsvc.asgi:application",
                self.folder,
                "-c",
                "deploy/gunicorn.conf.py",
                "--bind",
                f"127.0.0.1:{admin}",
                env=env,
            )
        )
        return Gate(port, admin)


class Gate:
    def __init__(self, port: int, admin: int) -> None:
        self._port, self._admin = port, admin

    def status(self, key: str, model: str = "sm") -> int:
        asked = dict(question(key, x_forwarded_uri=f"/{model}/ner"))
        return requests.get(f"http://127.0.0.1:{self._port}/auth/?model={model}", headers=asked, timeout=20).status_code

    def ready(self) -> tuple[int, str]:
        page = requests.get(f"http://127.0.0.1:{self._admin}/readyz", timeout=20)
        return page.status_code, page.text


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def redis_url(stack, tmp_path) -> str:
    port = free_port()
    stack.enter_context(redis_server(tmp_path, port=port))
    return f"redis://127.0.0.1:{port}/0"


def test_a_second_deployment_is_refused_everywhere_and_harms_nobody(stack, tmp_path, redis_url):
    production = Deployment("production", tmp_path, redis_url)
    assert production.manage("set_up").returncode == 0
    key, gate = production.key(), production.gate(stack)
    wait_until(lambda: gate.status(key, "lg") == 200, "production serving")

    staging = Deployment("staging", tmp_path, redis_url)
    refused = staging.manage("set_up")
    sentence = "holds the data of another deployment"
    assert refused.returncode == 1 and sentence in refused.stderr and "AUTHSVC_REDIS_PREFIX" in refused.stderr
    assert "Traceback" not in refused.stderr
    worker = staging.manage("keep_ledger")  # it does not go on for ever
    assert worker.returncode == 1 and sentence in worker.stderr
    assert sentence in staging.manage("check", "--deploy", "--tag", "redis").stderr
    applied = staging.manage("apply_catalogue", str(staging.catalogue))
    assert applied.returncode == 3 and sentence in applied.stderr
    issued = staging.manage("issue_key", "--account", "acme", "--name", "k")
    assert issued.returncode == 3 and sentence in issued.stderr

    wrong = staging.gate(stack)
    assert wrong.status(issued.stdout.strip()) == 503
    assert wrong.status(key) in (401, 503)
    wait_until(lambda: "another deployment" in wrong.ready()[1], "staging's gate saying why")
    assert wrong.ready()[0] == 503

    assert gate.status(key, "lg") == 200  # staging has no such model
    assert gate.ready()[0] == 200


def test_a_prefix_keeps_two_deployments_on_one_database_apart(stack, tmp_path, redis_url):
    both = [Deployment("production", tmp_path, redis_url), Deployment("staging", tmp_path, redis_url, "staging")]
    for one in both:
        done = one.manage("set_up")
        assert done.returncode == 0, done.stderr
    keys, gates = [one.key() for one in both], [one.gate(stack) for one in both]
    for gate, key in zip(gates, keys, strict=True):
        wait_until(lambda gate=gate, key=key: gate.status(key) == 200, "a gate serving")  # type: ignore[misc]
        assert gate.ready() == (200, '{"ready": true, "reasons": []}\n')
    assert gates[0].status(keys[0], "lg") == 200
    assert gates[1].status(keys[1], "lg") == 403
    assert gates[0].status(keys[1]) == gates[1].status(keys[0]) == 401
    for one in both:
        assert one.manage("keep_ledger", "--once").returncode == 0
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        names = list(client.scan_iter(count=1000))
    theirs = [name for name in names if name.startswith("staging:")]
    assert len(theirs) > 3844 and len(names) > 2 * 3844
    assert {name.removeprefix("staging:")[:1] for name in names} == {"{", "a"}  # hash tags, and authsvc:life


def test_an_emptied_redis_belongs_to_the_first_deployment_that_fills_it(tmp_path, redis_url):
    production, staging = (Deployment(name, tmp_path, redis_url) for name in ("production", "staging"))
    assert production.manage("set_up").returncode == 0
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert staging.manage("set_up").returncode == 0
    assert production.manage("keep_ledger", "--once").returncode != 0
