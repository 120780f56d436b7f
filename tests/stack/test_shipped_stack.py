"""check_stack finds nothing in what is shipped: the demo's Traefik and the complete example in docs/forward-auth.md."""

from __future__ import annotations

import json
import re
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from deploy.demo import traefik
from deploy.demo.children import Children
from deploy.demo.obstacle import Obstacle
from deploy.demo.place import CHECKOUT, plain_environment
from deploy.demo.ports import free_ports
from deploy.demo.sample_models import addresses
from tests.traefik.conftest import traefik_binary

FORWARD_AUTH = CHECKOUT / "docs" / "forward-auth.md"


@pytest.fixture
def start(tmp_path):
    """Start a Traefik with this static configuration, and its API on a loopback port; yields that port."""
    children = Children(tmp_path, CHECKOUT)

    def start(static, environment=None):
        (port,) = free_ports(1)
        static["api"] = {"insecure": True}  # on the entry point `traefik`, which is on loopback here
        static["entryPoints"]["traefik"] = {"address": f"127.0.0.1:{port}"}
        static["accessLog"] = {"filePath": str(tmp_path / "access.log")}
        file = tmp_path / "traefik.yml"
        file.write_text(json.dumps(static))
        command = [traefik_binary(), f"--configfile={file}"]
        children.start("traefik", command, plain_environment() | (environment or {}))
        children.wait_until(lambda: knows_a_file(port), "Traefik's API")
        return f"http://127.0.0.1:{port}"

    yield start
    children.stop()


def knows_a_file(port):
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/http/routers", timeout=5) as reply:
        return b"@file" in reply.read()
    return False


def check(stack, url, *options):
    """check_stack's output; its exit status is 1 if it found something."""
    return stack.service.manage("check_stack", "--traefik-url", url, *options)


def test_nothing_is_found_in_the_demo(stack, start):
    static = traefik._static(stack.place)
    (web,) = free_ports(1)
    static["entryPoints"]["web"]["address"] = f"127.0.0.1:{web}"  # the demo's own is running
    models = addresses(stack.models, stack.place)
    url = start(static, {"GATE_URL": stack.place.gate_url, "MODELS": models})
    assert check(stack, url) == "Nothing found."


def test_a_mistake_in_the_demo_would_be_found(stack, start, tmp_path):
    """The same with one wrong line in the shipped file, so that silence means something."""
    static = traefik._static(stack.place)
    shipped = Path(static["providers"]["file"]["filename"])
    wrong = tmp_path / "models.yml"
    wrong.write_text(shipped.read_text().replace("trustForwardHeader: false", "trustForwardHeader: true"))
    assert wrong.read_text() != shipped.read_text()
    static["providers"]["file"]["filename"] = str(wrong)
    (web,) = free_ports(1)
    static["entryPoints"]["web"]["address"] = f"127.0.0.1:{web}"
    url = start(static, {"GATE_URL": stack.place.gate_url, "MODELS": addresses(stack.models, stack.place)})
    with pytest.raises(Obstacle, match="exit status 1") as told:
        check(stack, url)
    assert told.value.args[0].count("trusted-forward-header") == len(stack.models)


def test_nothing_is_found_in_the_complete_example(stack, start, tmp_path):
    blocks = re.findall(r"^```yaml\n(.*?)^```$", FORWARD_AUTH.read_text(), re.M | re.S)
    static, dynamic = (yaml.safe_load(block) for block in blocks[:2])
    web, inner = free_ports(2)
    static["entryPoints"]["web"]["address"] = f":{web}"
    static["entryPoints"]["gate"]["address"] = f"127.0.0.1:{inner}"
    file = tmp_path / "dynamic.yml"
    file.write_text(yaml.safe_dump(dynamic).replace("127.0.0.1:8900", f"127.0.0.1:{inner}"))
    static["providers"]["file"]["filename"] = str(file)
    url = start(static)
    with pytest.raises(Obstacle) as told:  # the example has one model, the catalogue of these tests three
        check(stack, url)
    assert set(re.findall(r"^ *(?:danger|fault|unknown)  (\S+)  (.*)$", told.value.args[0], re.M)) == {
        ("model-without-route", "model echo"),
        ("model-without-route", "model echo2"),
    }
