"""deploy/compose/socket-proxy.yml: Traefik finds models without Docker's socket, and nothing can be changed through it."""

from __future__ import annotations

import json

import pytest

from tests.compose.engine import Stack, docker, free_name, inspect, why_not
from tests.servers import free_port, wait_until

FILES = ("docker-compose.yml", "deploy/compose/socket-proxy.yml")
NEEDED = ("traefik", "gate", "console", "errors", "corporate", "en_core_web_sm")
# Sends a raw request, so that no client normalises its path; prints the status.
ASK = """
import json, socket, sys
def status(line):
    with socket.create_connection(("socket-proxy", 2375), timeout=10) as connection:
        body = "{}" if line.startswith(("POST", "PUT")) else ""
        head = f"{line} HTTP/1.1\\r\\nHost: docker\\r\\nConnection: close\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}"
        connection.sendall(head.encode())
        return int(connection.recv(4096).split()[1])
print(json.dumps({line: status(line) for line in json.loads(sys.argv[1])}))
"""


@pytest.fixture(scope="module")
def proxied():
    if reason := why_not():
        pytest.skip(reason)
    stack = Stack(free_name("proxied"), free_port(), FILES)
    try:
        stack.compose("up", "--build", "-d", "--scale", "gate=1", *NEEDED, seconds=600)
        yield stack
    finally:
        stack.stop()


def asked(stack, *lines):
    """From a container on the proxy's network."""
    image = stack.image
    command = ("run", "--rm", "--network", f"{stack.project}_socket", "--entrypoint", "python", image, "-c", ASK)
    return json.loads(docker(*command, json.dumps(lines)))


def test_traefik_finds_gate_console_and_models_through_it(proxied):
    with proxied.client("api") as api, proxied.client("console") as console:
        wait_until(lambda: api.get("/en_core_web_sm/").status_code == 401, "the gate before the model", 120)
        wait_until(lambda: console.get("/login/").status_code == 200, "the console", 60)


def test_traefik_notices_what_comes_and_goes(proxied):
    """Through Docker's events, which it passes on at once."""
    with proxied.client() as site:
        wait_until(lambda: site.get("/").status_code == 200, "the site", 60)
        proxied.compose("stop", "corporate")
        wait_until(lambda: site.get("/").status_code == 503, "its end", 30)
        proxied.compose("start", "corporate")
        wait_until(lambda: site.get("/").status_code == 200, "the site again", 30)


def test_traefik_has_no_socket_and_nobody_else_is_on_the_proxys_network(proxied):
    with_socket = []
    for container in docker("ps", "-q", "--filter", f"label=com.docker.compose.project={proxied.project}").split():
        found = inspect(container)
        service = found["Config"]["Labels"]["com.docker.compose.service"]
        with_socket += [service for mount in found["Mounts"] if "docker.sock" in mount["Source"]]
        on_its_network = f"{proxied.project}_socket" in found["NetworkSettings"]["Networks"]
        assert on_its_network == (service in ("traefik", "socket-proxy")), service
        assert service == "traefik" or not found["NetworkSettings"]["Ports"] or service != "socket-proxy"
    assert with_socket == ["socket-proxy"]
    assert inspect(proxied.container("socket-proxy"))["HostConfig"]["CapDrop"] == ["ALL"]


def test_what_traefik_reads_passes(proxied):
    container = docker("inspect", "-f", "{{.Id}}", proxied.container("traefik")).strip()
    lines = (
        "GET /_ping",
        "HEAD /_ping",
        "GET /v1.41/version",
        "GET /v1.41/containers/json?limit=0",
        f"GET /v1.41/containers/{container}/json",
    )
    assert set(asked(proxied, *lines).values()) == {200}


def test_any_write_or_other_read_is_refused(proxied):
    container = docker("inspect", "-f", "{{.Id}}", proxied.container("traefik")).strip()
    refused = (
        "POST /v1.41/containers/create",
        "POST /containers/create",
        f"POST /v1.41/containers/{container}/exec",
        f"POST /v1.41/containers/{container}/stop",
        f"POST /v1.41/containers/{container}/json",
        f"DELETE /v1.41/containers/{container}?force=1",
        "POST /v1.41/containers/json",
        "PUT /v1.41/containers/json",
        "OPTIONS /v1.41/containers/json",
        "GET /v1.41/images/json",
        "GET /v1.41/secrets",
        "GET /v1.41/volumes",
        f"GET /v1.41/containers/{container}/archive?path=/",
        f"GET /v1.41/containers/{container}/logs?stdout=1",
        f"GET /v1.41/containers/{container}/attach/ws?stream=1",
        f"GET /v1.41/containers/{container}/json/../archive?path=/",
        "GET /v1.41/containers/json/../../images/json",
        "GET /v1.41/containers/json?x=/../../../images/json",
        "GET /v1.41//images/json",
        "GET /v1.41/containers/json%2F..%2F..%2Fimages",
        "GET http://docker/v1.41/images/json",
    )
    answers = asked(proxied, *refused)
    assert {line: status for line, status in answers.items() if status not in (400, 403, 405)} == {}
    assert proxied.container("traefik")
