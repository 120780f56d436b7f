"""docs/existing-traefik.md, word for word: an existing stack, before and after following the page."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.compose.engine import BUILD_SECONDS, docker, free_name, run, why_not
from tests.servers import ROOT, free_port, wait_until

PAGE = ROOT / "docs" / "existing-traefik.md"
SECONDS = 120

# The existing model: it echoes each request to anyone.
MODEL = """
import http.server, json
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8000), Echo).serve_forever()
"""


def blocks(kind: str) -> list[str]:
    """The page's blocks of code in this language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def foreign(project: str, port: int, *, arguments: list[str], labels: dict[str, str]) -> dict[str, Any]:
    """Three plain containers: a Traefik, a model, and something unrelated."""
    python = {"image": "python:3.13-slim", "command": ["python", "-u", "-c", MODEL], "stop_signal": "SIGKILL"}
    return {
        "services": {
            "traefik": {
                "image": "traefik:v3.7",
                "command": [
                    "--providers.docker=true",
                    "--providers.docker.exposedByDefault=false",
                    "--api.insecure=true",
                    f"--providers.docker.constraints=LabelRegex(`com.docker.compose.project`, `^{project}`)",
                    "--entryPoints.web.address=:80",
                    *arguments,
                ],
                "ports": [f"127.0.0.1:{port}:80"],
                "volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"],
                "environment": {"NO_PROXY": "*"},
            },
            "my_model": {**python, "labels": labels},
            "whoami": {
                **python,
                "labels": {
                    "traefik.enable": "true",
                    "traefik.http.routers.whoami.rule": "Host(`whoami.localhost`)",
                    "traefik.http.routers.whoami.entryPoints": "web",
                    "traefik.http.services.whoami.loadBalancer.server.port": "8000",
                },
            },
        },
        "networks": {"default": {"name": f"{project}-traefik"}},
    }


BEFORE = {
    "traefik.enable": "true",
    "traefik.http.routers.model.rule": "PathPrefix(`/my_model`)",
    "traefik.http.routers.model.entryPoints": "web",
    "traefik.http.services.model.loadBalancer.server.port": "8000",
}


@dataclass
class Machine:
    """A machine with a checkout of authsvc and an existing stack."""

    folder: Path
    project: str
    port: int

    @property
    def checkout(self) -> Path:
        return self.folder / "authsvc"

    def run_foreign(self, *, arguments: list[str], labels: dict[str, str]) -> None:
        stack = foreign(self.project, self.port, arguments=arguments, labels=labels)
        (self.folder / "docker-compose.yml").write_text(json.dumps(stack))
        self.foreign_compose("up", "-d")

    def foreign_compose(self, *words: str) -> str:
        own = ["docker", "compose", "-p", f"{self.project}-theirs", "-f", str(self.folder / "docker-compose.yml")]
        return run([*own, *words], seconds=SECONDS)

    def type(self, block: str, *, seconds: float = SECONDS) -> str:
        """The output of a block of the page in a shell in the checkout, after the exports of the earlier blocks."""
        exports = [line for one in blocks("sh") for line in one.splitlines() if line.startswith("export ")]
        script = "\n".join(["set -e", *exports, block])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.checkout,
            env={"PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def get(self, path: str, *, host: str = "localhost", **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.get(f"http://127.0.0.1:{self.port}{path}", headers={"Host": host, **names})

    def answers(self, status: int, path: str, **more: str) -> bool:
        try:
            return self.get(path, **more).status_code == status
        except httpx.TransportError:
            return False


def _copy_checkout(into: Path) -> None:
    """As git would clone it, with uncommitted changes."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], seconds=SECONDS)
    for name in filter(None, listed.split("\0")):
        if (source := ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into / name)


def _name_things(bin_: Path, project: str) -> None:
    """A `docker` that keeps this test apart from the engine's other stacks, only by using other names."""
    bin_.mkdir()
    (bin_ / "docker").write_text(
        f"#!/bin/sh\nexport COMPOSE_PROJECT_NAME={project} TRAEFIK_NETWORK={project}-traefik\n"
        'PATH=${PATH#*:}\nexec docker "$@"\n'
    )
    (bin_ / "docker").chmod(0o755)


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[Machine]:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("machine")
    folder.chmod(stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)
    there = Machine(folder, free_name("minimal"), free_port())
    _copy_checkout(there.checkout)
    _name_things(folder / "bin", there.project)
    try:
        there.run_foreign(arguments=[], labels=BEFORE)
        yield there
    finally:
        there.type("docker compose down --volumes --remove-orphans --timeout 8")
        there.foreign_compose("down", "--volumes", "--timeout", "8")
        docker("image", "rm", "-f", f"{there.project}:local")


@dataclass
class Applied:
    """What was observed on the way through the page."""

    machine: Machine
    untouched: str
    key: str
    logs: str


@pytest.fixture(scope="module")
def applied(machine: Machine) -> Applied:
    """The page, from top to bottom."""
    (catalogue,), (arguments, labels) = blocks("toml"), blocks("yaml")
    start, logs, issue, _ = blocks("sh")
    wait_until(lambda: machine.answers(200, "/my_model/x"), "the model as it was", SECONDS)
    wait_until(lambda: machine.answers(200, "/", host="whoami.localhost"), "the other one", SECONDS)
    untouched = machine.foreign_compose("ps", "-q", "whoami")

    (machine.checkout / "catalogue.toml").write_text(catalogue)
    machine.type(start, seconds=BUILD_SECONDS)
    said = machine.type(logs)
    machine.run_foreign(
        arguments=yaml.safe_load(arguments), labels=yaml.safe_load(labels)["services"]["my_model"]["labels"]
    )
    key = machine.type(issue).strip()
    wait_until(lambda: machine.answers(200, "/my_model/x", x_api_key=key), "the model behind the gate", SECONDS)
    return Applied(machine, untouched, key, said)


def test_a_key_works_and_the_model_learns_whose_it_is_but_not_the_key(applied):
    answer = applied.machine.get("/my_model/x?y=1", authorization=f"Bearer {applied.key}")
    seen = answer.json()
    assert (answer.status_code, seen["path"], seen["x-auth-model"]) == (200, "/my_model/x?y=1", "my_model")
    assert applied.key not in answer.text and "authorization" not in seen


def test_without_a_key_the_gate_refuses(applied):
    answer = applied.machine.get("/my_model/x")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_that_was_revoked_is_refused_at_once(applied):
    machine = applied.machine
    key = machine.type(blocks("sh")[2]).strip()
    assert machine.answers(200, "/my_model/x", x_api_key=key)
    machine.type(f"docker compose exec authsvc python manage.py revoke_key {key.split('_')[1]}")
    assert machine.answers(401, "/my_model/x", x_api_key=key)


def test_a_lookalike_of_the_models_path_leads_nowhere(applied):
    assert {applied.machine.get(path).status_code for path in ("/my_model2", "/my_model;x", "/my_model-x")} == {404}


def test_the_other_container_was_not_touched(applied):
    assert applied.machine.foreign_compose("ps", "-q", "whoami") == applied.untouched
    wait_until(lambda: applied.machine.answers(200, "/", host="whoami.localhost"), "the other one", SECONDS)


def test_the_first_operator_s_link_opens_the_console(applied):
    (path,) = re.findall(r"http://console\.localhost(/first-operator/\S+)", applied.logs)
    wait_until(lambda: applied.machine.answers(302, path, host="console.localhost"), "the console", SECONDS)
    entered = applied.machine.get(path, host="console.localhost")
    assert (entered.status_code, entered.headers["location"]) == (302, "/first-operator/")


def test_the_gate_cannot_be_called_through_the_console(applied):
    wait_until(lambda: applied.machine.answers(200, "/login/", host="console.localhost"), "the console", SECONDS)
    for path in ("/auth/", "/auth/?model=my_model", "/auth"):
        answer = applied.machine.get(path, host="console.localhost", authorization=f"Bearer {applied.key}")
        assert answer.status_code == 404


def test_check_stack_finds_nothing(applied):
    assert applied.machine.type(blocks("sh")[3]) == "Nothing found.\n"
