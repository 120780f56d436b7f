"""Who can reach whom, and what a container may do."""

from __future__ import annotations

import json

import pytest

from tests.swarm.cluster import API
from tests.swarm.engine import docker, inspect

# Tells of each address whether it resolves and listens, from inside a container that has only Python.
PROBE = """
import json, socket, sys
def reach(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
        return True
    except OSError:
        return False
print(json.dumps({f"{h}:{p}": reach(h, int(p)) for h, p in (a.rsplit(":", 1) for a in sys.argv[1:])}))
"""


def reached(cluster, service, stack, *addresses):
    told = cluster.inside(service, "python", "-c", PROBE, *addresses, stack=stack)
    return {address for address, open_ in json.loads(told).items() if open_}


def addresses_of(cluster, service):
    """Every address of a service's task, on all its networks."""
    networks = inspect("container", cluster.container(service))["NetworkSettings"]["Networks"]
    return [network["IPAddress"] for network in networks.values() if network["IPAddress"]]


@pytest.mark.parametrize("model", ["en-core-web-sm", "fr-core-news-md"])
def test_a_model_reaches_no_store_no_gate_and_no_internal_entry_point(now, model):
    by_name = ["redis:6379", "postgres:5432", "gate:8000", "gate:9000", "console:8000", "traefik:8900"]
    ports = {"redis": [6379], "postgres": [5432], "gate": [8000, 9000], "console": [8000, 9000], "traefik": [8900]}
    by_address = [f"{ip}:{port}" for name in ports for ip in addresses_of(now, name) for port in ports[name]]
    assert len(by_address) >= 8
    assert reached(now, model, "models", *by_name, *by_address) == set()


def test_the_same_probe_finds_open_ports(now):
    assert reached(now, "console", "authsvc", "redis:6379", "postgres:5432") == {"redis:6379", "postgres:5432"}


@pytest.mark.parametrize("service", ["gate", "console", "worker", "discover", "errors", "traefik", "redis"])
def test_a_container_has_a_read_only_root_and_no_capability_it_does_not_need(now, service):
    spec = inspect("service", f"authsvc_{service}")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert spec["ReadOnly"]
    assert spec["CapabilityDrop"] == ["ALL"]
    host = inspect("container", now.container(service))["HostConfig"]
    assert host["ReadonlyRootfs"]
    added = {capability.removeprefix("CAP_") for capability in host["CapAdd"] or []}
    assert added <= ({"NET_BIND_SERVICE"} if service == "traefik" else set())


def test_only_traefik_publishes_a_port_and_none_goes_by_the_mesh(now):
    names = docker("service", "ls", "--format", "{{.Name}}").split()
    published = {name: inspect("service", name)["Spec"]["EndpointSpec"].get("Ports", []) for name in names}
    assert {name for name, ports in published.items() if ports} == {"authsvc_traefik"}
    assert {port["PublishMode"] for port in published["authsvc_traefik"]} == {"host"}


def test_no_secret_is_in_an_environment_or_an_argument(now):
    secrets = [file.read_text().strip() for file in (now.directory / "secrets").rglob("*") if file.is_file()]
    assert len(secrets) >= 9
    for name in docker("service", "ls", "--format", "{{.Name}}").split():
        spec = docker("service", "inspect", name)
        assert not any(secret in spec for secret in secrets), name


def test_every_service_has_limits_on_its_log_and_memory(now):
    for name in docker("service", "ls", "--format", "{{.Name}}").split():
        task = inspect("service", name)["Spec"]["TaskTemplate"]
        assert "max-size" in task["LogDriver"]["Options"], name
        assert task["Resources"]["Limits"]["MemoryBytes"], name
        assert task["Resources"]["Reservations"]["MemoryBytes"], name


def test_traefiks_own_errors_are_those_of_the_compose_stack(now):
    unknown = now.ask(API, "/nothing")
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/problem+json")
    page = now.ask("localhost", "/nothing")
    assert (page.status, "text/html" in page.headers["content-type"]) == (404, True)
    assert now.ask("dashboard.localhost", "/api/version").status == 401
    assert now.ask(API, "/auth/?model=en_core_web_sm").status == 404


def test_check_stack_finds_nothing(now):
    now.inside(
        "discover",
        "python",
        "manage.py",
        "check_stack",
        "--gate-url",
        "https://127.0.0.1:8900",
        "--traefik-url",
        "http://dashboard.localhost",
        "--traefik-user",
        "operator",
        "--traefik-password-file",
        "/run/secrets/dashboard_password",
    )
