"""Who can reach whom, and what a container may do, tested from the inside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authsvc import __version__
from tests.compose.engine import addresses, docker, inspect

OURS = ("gate", "console", "worker", "discover")
MODELS = ("en_core_web_sm", "fr_core_news_md")
STORES = ("redis", "postgres")
HARDENED = (*OURS, *MODELS, *STORES, "corporate", "errors", "traefik")
OTHER_MODEL = dict(zip(MODELS, reversed(MODELS), strict=True))

STEPS_DOWN = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}  # drops from root to postgres and then has none

KNOCK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def answers(target):
    try:
        socket.create_connection(target, timeout=2).close()
        return True
    except OSError:
        return False

targets = [tuple(target) for target in json.loads(sys.argv[1])]
with ThreadPoolExecutor(32) as pool:
    print(json.dumps([target for target, open in zip(targets, pool.map(answers, targets)) if open]))
"""


def reached(stack, service, targets):
    return [tuple(one) for one in json.loads(stack.exec(service, "python", "-c", KNOCK, json.dumps(targets)))]


def knock(stack, service, host, port):
    """For an image without Python: the exit status when bash opens the port."""
    knock = f"timeout 2 bash -c '</dev/tcp/{host}/{port}'"
    return int(stack.exec(service, "sh", "-c", f"{knock} 2>/dev/null; echo $?").strip())


def at(stack, service, *ports):
    """At each of its names and addresses."""
    hosts = [service] + [address for one in stack.containers(service) for address in addresses(one)]
    return [(host, port) for host in hosts for port in ports]


@pytest.mark.parametrize("model", MODELS)
def test_from_inside_of_a_model_nothing_of_the_gate_or_its_stores_can_be_reached(stack, model):
    targets = [
        *at(stack, "redis", 6379),
        *at(stack, "postgres", 5432),
        *at(stack, "gate", 8000, 9000),
        *at(stack, "console", 8000, 9000),
        *at(stack, "traefik", 8900, 8080),  # the internal entry point, and the port of an insecure API
        *at(stack, OTHER_MODEL[model], 8000),
        *at(stack, "corporate", 8080),
        *at(stack, "errors", 8080),
        ("127.0.0.1", 8900),
    ]
    assert len(targets) >= 14
    assert reached(stack, model, targets) == []


def test_the_probed_ports_are_listening(stack):
    """Otherwise the test above could not fail."""
    redis, postgres = at(stack, "redis", 6379), at(stack, "postgres", 5432)
    gates = [(address, port) for one in stack.containers("gate") for address in addresses(one) for port in (8000, 9000)]
    assert reached(stack, "console", [*redis, *postgres, *gates]) == [*redis, *postgres, *gates]
    assert reached(stack, "en_core_web_sm", [("traefik", 80)]) == [("traefik", 80)]


def networks(stack, service):
    names = inspect(stack.containers(service)[0])["NetworkSettings"]["Networks"]
    return {name.removeprefix(f"{stack.project}_") for name in names}


def test_neither_traefik_nor_a_model_shares_a_network_with_the_stores(stack):
    stores = networks(stack, "redis") | networks(stack, "postgres")
    assert stores == {"data"}
    for service in ("traefik", "corporate", "errors", *MODELS):
        assert not networks(stack, service) & stores, service
    assert [networks(stack, model) for model in MODELS] == [{model} for model in MODELS]


def test_what_serves_pages_reaches_neither_stores_nor_gate_nor_models(stack):
    targets = [
        *at(stack, "redis", 6379),
        *at(stack, "postgres", 5432),
        *at(stack, "gate", 8000, 9000),
        *at(stack, "console", 8000),
        *(one for model in MODELS for one in at(stack, model, 8000)),
    ]
    for service in ("corporate", "errors"):
        for host, port in targets:
            assert knock(stack, service, host, port) != 0, (service, host, port)
    assert knock(stack, "corporate", "errors", 8080) == 0  # otherwise the lines above could not fail


def test_the_console_and_the_worker_reach_no_model(stack):
    targets = [one for model in MODELS for one in at(stack, model, 8000)]
    for service in OURS:
        assert reached(stack, service, targets) == [], service


def test_only_traefik_has_a_published_port_and_it_is_on_loopback(stack):
    for name in docker("ps", "-q", "--filter", f"label=com.docker.compose.project={stack.project}").split():
        ports = [one for bound in inspect(name)["NetworkSettings"]["Ports"].values() for one in bound or []]
        is_traefik = inspect(name)["Config"]["Labels"]["com.docker.compose.service"] == "traefik"
        assert ports == ([{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}] if is_traefik else [])


@pytest.mark.parametrize("service", HARDENED)
def test_a_container_cannot_write_or_gain_privileges(stack, service):
    found = inspect(stack.containers(service)[0])
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert any("no-new-privileges" in option for option in found["HostConfig"]["SecurityOpt"])
    assert not found["HostConfig"]["Privileged"]
    added = {name.removeprefix("CAP_") for name in found["HostConfig"]["CapAdd"] or []}
    assert added <= {"traefik": {"NET_BIND_SERVICE"}, "postgres": STEPS_DOWN}.get(service, set())


@pytest.mark.parametrize("service", HARDENED)
def test_the_first_process_of_a_container_has_no_capability_it_does_not_need(stack, service):
    """As the kernel sees it, whatever was configured."""
    pid = inspect(stack.containers(service)[0])["State"]["Pid"]
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert int(status["CapEff"], 16) == (1 << 10 if service == "traefik" else 0)  # CAP_NET_BIND_SERVICE
    assert int(status["NoNewPrivs"]) == 1


@pytest.mark.parametrize("service", HARDENED)
def test_a_container_has_limits_on_its_log_and_memory(stack, service):
    host = inspect(stack.containers(service)[0])["HostConfig"]
    assert host["LogConfig"]["Type"] == "json-file"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}
    assert 0 < host["Memory"] <= 2 * 1024**3


@pytest.mark.parametrize("service", [*OURS, *MODELS, "corporate", "errors", "redis"])
def test_a_container_runs_as_an_unprivileged_user(stack, service):
    assert inspect(stack.containers(service)[0])["Config"]["User"] not in ("", "0", "root", "0:0")


def test_the_socket_of_docker_is_traefiks_alone_and_for_reading(stack):
    for name in docker("ps", "-q", "--filter", f"label=com.docker.compose.project={stack.project}").split():
        found = inspect(name)
        sockets = [mount for mount in found["Mounts"] if "docker.sock" in mount["Source"]]
        if found["Config"]["Labels"]["com.docker.compose.service"] == "traefik":
            (socket,) = sockets
            assert not socket["RW"]
        else:
            assert sockets == []


def test_the_image_has_a_version_a_health_check_and_a_stop_signal(stack):
    image = inspect(stack.image)["Config"]
    assert image["Labels"]["org.opencontainers.image.version"] == __version__
    assert image["Healthcheck"]["Test"][0] == "CMD"
    assert image["StopSignal"] == "SIGTERM"
    assert image["Cmd"][0] == "gunicorn"


def test_no_layer_and_no_environment_of_the_image_holds_a_secret(stack):
    """Secrets are files in volumes; the build's placeholder values say what they are."""
    image = stack.image
    variables = [one.split("=")[0] for one in inspect(image)["Config"]["Env"]]
    assert not {"SECRET_KEY", "KEY_PEPPER", "DATABASE_URL", "REDIS_URL"} & set(variables)
    files = docker("run", "--rm", "--entrypoint", "find", image, "/secrets", "/srv", "/data", "-type", "f")
    names = {line.rsplit("/", 1)[-1] for line in files.splitlines()}
    assert "manage.py" in names
    assert not any(line.startswith(("/secrets/", "/data/")) for line in files.splitlines())
    assert not {".env", "SECRET_KEY", "KEY_PEPPER", "keys.env"} & names


def test_each_secret_is_mounted_only_where_it_is_read(stack):
    def mounted(service):
        mounts = inspect(stack.containers(service)[0])["Mounts"]
        return {m["Destination"] for m in mounts if m["Destination"].startswith("/secrets/")}

    assert mounted("redis") == {"/secrets/redis"}
    assert mounted("postgres") == {"/secrets/postgres"}
    assert mounted("traefik") == {"/secrets/traefik"}
    assert mounted("gate") == mounted("console") == mounted("worker") == {"/secrets/authsvc"}
    for service in ("en_core_web_sm", "fr_core_news_md", "corporate", "errors"):
        assert mounted(service) == set()
