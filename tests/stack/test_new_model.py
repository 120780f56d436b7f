"""A model that appears in a running Traefik: discovered, added to a plan, called with a key."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest

from deploy.demo.demo import Demo
from deploy.demo.place import CHECKOUT, take_place
from deploy.demo.ports import free_ports, is_free
from tests.servers import wait_until
from tests.stack import wire
from tests.stack.conftest import echo_model
from tests.traefik.conftest import start_traefik, traefik, traefik_in  # noqa: F401
from tests.traefik.routes import route

pytestmark = pytest.mark.slow

PLANS = """
default_plan = "every"
[models.echo]
[plans.every]
models = ["*"]
limits = [{ name = "second", per = "key", amount = 10000, window = "second" }]
[plans.some]
models = [MODELS]
limits = [{ name = "second", per = "key", amount = 10000, window = "second" }]
"""
PATIENCE = 60


@pytest.fixture
def own(tmp_path):
    """A separate stack, because what these tests discover would disturb others."""
    models = (echo_model("echo"),)
    port = next(port for port in free_ports(20) if is_free(port + 1))
    place = take_place(tmp_path / "stack", port, models=len(models))
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(PLANS.replace("MODELS", '"echo"'))
    stack = Demo(place, models, catalogue, report=lambda line: None)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


class Watcher:
    """`discover_models --watch` as a process, and what it logged."""

    def __init__(self, stack, url, log, elsewhere):
        self._log = log
        kept = {
            name: value
            for name, value in stack.service._environment.items()
            if name.partition("_FILE")[0] not in elsewhere
        }
        command = [sys.executable, "manage.py", "discover_models", "--watch", "--every", "1s", "--traefik-url", url]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=CHECKOUT, env=kept | elsewhere, stdout=out, stderr=subprocess.STDOUT
            )

    def said(self):
        return self._log.read_text()

    def wait_for(self, text, times=1):
        def said_it():
            assert self.process.poll() is None, self.said()
            return self.said().count(text) >= times

        wait_until(said_it, f"discover_models saying {text!r}", PATIENCE)


@pytest.fixture
def watch(own, tmp_path):
    watchers: list[Watcher] = []

    def start(url, **elsewhere):
        watchers.append(Watcher(own, url, tmp_path / f"watch-{len(watchers)}.log", elsewhere))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.process.kill()
        watcher.process.wait()


def status(port, key):
    return wire.ask(port, "/newcomer/x", f"Authorization: Bearer {key}").status


def newcomer(own):
    options = (
        "--gate-url",
        own.place.gate_url,
        "--server-url",
        f"http://127.0.0.1:{own.place.models[0]}",
        "--host",
        "",
    )
    return route("newcomer", *options)


def test_a_new_model_is_found_named_in_a_plan_and_serves_with_a_key(own, watch, traefik):  # noqa: F811
    every, some = (
        own.service.manage("issue_key", "--account", plan, "--plan", plan, "--name", "k") for plan in ("every", "some")
    )
    watcher = watch(traefik.url)
    traefik.serve(newcomer(own))
    assert status(traefik.web, "no-key") == 401
    watcher.wait_for("model newcomer: new, found at /newcomer")
    assert [status(traefik.web, key) for key in (every, some)] == [403, 403]

    # Named in a plan: the next call passes, also for plans of every model.
    own.catalogue.write_text(
        PLANS.replace("MODELS", '"echo", "newcomer"') + "[models.newcomer]\nauto_include = false\n"
    )
    own.service.manage("apply_catalogue", str(own.catalogue))
    assert [status(traefik.web, key) for key in (every, some)] == [200, 200]

    traefik.serve({})
    watcher.wait_for("model newcomer: in the catalogue, but no router in Traefik asks the gate about it")
    traefik.serve(newcomer(own))
    assert status(traefik.web, every) == 200  # nothing was forgotten


def test_a_watcher_outlives_traefik_the_store_and_the_database_and_ends_at_once(own, watch, tmp_path):
    (port,) = free_ports(1)
    with traefik_in(tmp_path / "first") as first:
        first.serve(newcomer(own))
        without_database = watch(first.url, DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
        without_database.wait_for("The database cannot be reached")
        without_redis = watch(first.url, REDIS_URL="redis://127.0.0.1:1/0")
        without_redis.wait_for("model newcomer: new, found at /newcomer; pending, keep_ledger will publish it")
        watcher = watch(first.url)
        watcher.wait_for("looking for models")
        assert without_database.process.poll() is None
    watcher.wait_for("cannot be read")
    assert watcher.said().count("Trying again") == 1  # logged once, not every second

    began = time.monotonic()
    watcher.process.send_signal(signal.SIGTERM)
    assert watcher.process.wait(20) == 0
    assert time.monotonic() - began < 10

    # A Traefik that accepts connections but never answers does not block the end either.
    with socket.create_server(("127.0.0.1", port)):
        watcher = watch(f"http://127.0.0.1:{port}")
        watcher.wait_for("looking for models")
        time.sleep(0.5)  # while it waits for an answer, for up to 5 s
        watcher.process.send_signal(signal.SIGTERM)
        assert watcher.process.wait(4) == 0
