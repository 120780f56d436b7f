"""If ForwardAuth calls the gate directly, Traefik runs out of ports; through its internal entry point, as shipped, it does not.

On loopback Linux takes a port again that is in TIME_WAIT, which would hide the fault. So Traefik with its model and the
gate have a network namespace each; the clients knock from the gate's. What it says stands in docs/operations.md, "Ports".
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import tomllib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo import traefik
from deploy.demo.children import Children
from deploy.demo.place import CHECKOUT, plain_environment, take_place, write_private
from deploy.demo.service import DemoService
from tests.servers import redis_server
from tests.stack.conftest import echo_model
from tests.stack.namespaces import HERE as TRAEFIK
from tests.stack.namespaces import THERE as GATE
from tests.stack.namespaces import two_namespaces
from traefik.auth_address import INTERNAL

pytestmark = pytest.mark.slow

WEB, GATE_PORT, GATE_ADMIN, MODEL = 8080, 8000, 9000, 8001
DIRECT = f"http://{GATE}:{GATE_PORT}"
BY_HTTP = INTERNAL.replace("https:", "http:")
PORTS = (40_000, 40_999)
CONNECTIONS, SECONDS = (
    32,
    float(os.environ.get("AUTHSVC_TEST_PORTS_SECONDS", "15")),
)  # without reuse, ports run out within 3
ENOUGH = 20  # calls failed with 500 prove the fault
NEVER = 10**9
OFF, LINUX_DEFAULT = 0, 2  # net.ipv4.tcp_tw_reuse: never, and on loopback only
NO_PORT = "cannot assign requested address"


@dataclass(frozen=True)
class Seen:
    """The answers clients got, and how many ports they cost."""

    statuses: dict[int, int]
    seconds: float
    time_wait: int  # at most, in Traefik's namespace
    to_gate: int  # of these, at the end, to the gate
    to_loopback: int  # and to Traefik itself or its model
    log: str

    @property
    def failed(self):
        return sum(self.statuses.values()) - self.statuses.get(200, 0)

    def __str__(self):
        return (
            f"{sum(self.statuses.values())} calls in {self.seconds:.1f} s: {self.statuses}; TIME_WAIT at most"
            f" {self.time_wait}, at the end {self.to_gate} to the gate, {self.to_loopback} on loopback"
        )


@dataclass(frozen=True)
class Installed:
    service: DemoService
    key: str


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A store on a UNIX socket, outside any network, and a key."""
    folder = tmp_path_factory.mktemp("ports")
    place = replace(take_place(folder / "place", WEB, models=1), gate=GATE_PORT, models=(MODEL,))
    with redis_server(folder) as socket:
        write_private(place.root / "redis_socket", f"unix://{socket}")
        service = DemoService(place, more={"REDIS_URL_FILE": str(place.root / "redis_socket")})
        service.manage("migrate", "--no-input")
        service.manage("apply_catalogue", str(Path(__file__).with_name("catalogue.toml")))
        yield Installed(service, service.manage("issue_key", "--account", "ports", "--plan", "echo", "--name", "ports"))


@pytest.fixture
def machines():
    """Traefik's, with 1,000 ports for outgoing connections, and the gate's."""
    if not shutil.which("ip") or not shutil.which("ss"):
        pytest.skip("there is no `ip` or `ss`: install iproute2")
    with ExitStack() as machines:
        try:
            here, there = machines.enter_context(two_namespaces())
            here.set("ip_local_port_range", f"{PORTS[0]} {PORTS[1]}")
        except OSError as error:
            pytest.skip(f"network namespaces need root and a Linux that lets it make them: {error}")
        yield here, there


@pytest.fixture
def knock(installed, machines, tmp_path, capsys):
    """Knock at a Traefik as shipped, which calls the gate at `gate_url`."""
    here, there = machines
    children = Children(tmp_path, CHECKOUT)

    def knock(*, reuse, gate_url, enough):
        here.set("tcp_tw_reuse", reuse)
        start_model_and_gate(children, here, there, installed.service)
        start_traefik(children, here, tmp_path, gate_url)
        children.wait_until(
            lambda: answers(there, installed.key, 0.2, 1, connections=1)["statuses"].get("200"), "A model"
        )
        with most(here.time_wait) as time_wait:
            said = answers(there, installed.key, SECONDS, enough)
        children.require_alive()
        seen = Seen(
            {int(status): count for status, count in said["statuses"].items()},
            said["seconds"],
            max(time_wait),
            here.time_wait_to(f"{GATE}:{GATE_PORT}"),
            here.time_wait_to("127.0.0.1"),
            (tmp_path / "traefik.log").read_text(encoding="utf-8"),
        )
        with capsys.disabled():  # the figures go into docs/operations.md
            sys.stdout.write(f"\n{seen}\n")
        return seen

    yield knock
    children.stop()


def start_model_and_gate(children, here, there, service):
    model = [word.format(port=MODEL) for word in echo_model("echo").command]
    children.start("echo", here.inside(*model), plain_environment())
    gate = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
    own = {"AUTHSVC_SERVES": "gate", "BIND": f"{GATE}:{GATE_PORT}", "ADMIN_BIND": f"{GATE}:{GATE_ADMIN}"}
    children.start("gate", there.inside(*gate), service._environment | own | {"WEB_CONCURRENCY": "2"})


def start_traefik(children, here, folder, gate_url):
    dynamic = folder / "dynamic"
    dynamic.mkdir()
    (dynamic / "models.yml").write_text((traefik.CONFIGURATION / "dynamic" / "models.yml").read_text())
    (dynamic / "gate.yml").write_text(json.dumps(labels_of_the_gate()))
    (dynamic / "shared.yml").write_text(shared())
    (folder / "traefik.yml").write_text(json.dumps(shipped(folder)))
    own = {"GATE_URL": gate_url, "MODELS": f"echo=http://127.0.0.1:{MODEL}"}
    of_the_stack = {"PROVIDER": "file", "DOMAIN": "localhost", "CORS_ORIGINS": ""}
    command = [str(traefik._binary()), f"--configfile={folder / 'traefik.yml'}"]
    children.start("traefik", here.inside(*command), plain_environment() | own | of_the_stack)


def shipped(folder):
    static = tomllib.loads((traefik.CONFIGURATION / "traefik.toml").read_text())
    static["providers"]["file"] = {"directory": str(folder / "dynamic"), "watch": False}
    return static


def shared():
    """Its fallback to the gate, for when no replica seems ready, is a name in the stack's network."""
    text = (traefik.CONFIGURATION / "stack" / "shared.yml").read_text()
    assert "http://gate:8000" in text
    return text.replace("http://gate:8000", DIRECT)


def labels_of_the_gate():
    """The gate's labels from docker-compose.yml as a file; only the address differs."""
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    file: dict[str, Any] = {}
    for label, value in compose["services"]["gate"]["labels"].items():
        _, *path, last = label.split(".")
        if path[:1] == ["http"]:
            at = file
            for name in path:
                at = at.setdefault(name, {})
            at[last] = value.split(",") if last in ("entryPoints", "middlewares") else value
    balancer = file["http"]["services"]["gate"]["loadBalancer"]
    del balancer["server"]
    balancer["servers"] = [{"url": DIRECT}]
    return file


def answers(there, key, seconds, enough, connections=CONNECTIONS):
    words = (TRAEFIK, WEB, "/echo/", connections, seconds, enough)
    command = [sys.executable, "-m", "tests.stack.knock", *map(str, words)]
    return json.loads(there.run(*command, env=plain_environment() | {"KEY": key}, timeout=seconds + 120))


@contextmanager
def most(count):
    """Counts every half second into the list."""
    seen, over = [count()], threading.Event()

    def look():
        while not over.wait(0.5):
            seen.append(count())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join(30)
        seen.append(count())


def require_all_answered(seen):
    """No call is lost for lack of a port. If the machine stalls, the gate may answer 503, which is a different matter."""
    assert NO_PORT not in seen.log
    assert set(seen.statuses) <= {200, 503}, str(seen)
    assert seen.failed <= seen.statuses[200] // 200, str(seen)


def test_asked_directly_the_gate_costs_traefik_all_its_ports(knock):
    seen = knock(reuse=OFF, gate_url=DIRECT, enough=ENOUGH)
    assert seen.statuses.get(500, 0) >= ENOUGH, str(seen)
    assert f"dial tcp {GATE}:{GATE_PORT}: connect: {NO_PORT}" in seen.log
    assert seen.to_gate > 900, str(seen)


def test_by_way_of_the_internal_entry_point_no_call_fails(knock):
    seen = knock(reuse=OFF, gate_url=INTERNAL, enough=NEVER)
    require_all_answered(seen)
    assert seen.time_wait < 500, f"a connection for each question: {seen}"


def test_models_that_call_it_by_http_depend_on_linux_reusing_ports(knock):
    seen = knock(reuse=LINUX_DEFAULT, gate_url=BY_HTTP, enough=NEVER)
    require_all_answered(seen)
    assert seen.to_gate < 200, f"the way to the gate is not pooled: {seen}"


def test_where_linux_never_reuses_a_port_http_to_the_internal_entry_point_does_not_help(knock):
    seen = knock(reuse=OFF, gate_url=BY_HTTP, enough=ENOUGH)
    assert seen.statuses.get(500, 0) >= ENOUGH, str(seen)
    assert f"dial tcp 127.0.0.1:8900: connect: {NO_PORT}" in seen.log
    assert seen.to_gate < 200, f"the way to the gate is not pooled: {seen}"
