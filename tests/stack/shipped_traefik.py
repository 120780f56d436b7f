"""A real Traefik as docker-compose.yml configures it and with its shared files, on free ports and without Docker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from deploy.demo.place import CHECKOUT, plain_environment
from deploy.demo.ports import free_ports
from tests.servers import running, wait_until
from tests.traefik.conftest import traefik_binary

OF_COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]["traefik"]["environment"]
OF_DOCKER = ("TRAEFIK_PROVIDERS_DOCKER", "TRAEFIK_PROVIDERS_DOCKER_EXPOSEDBYDEFAULT")


@dataclass
class Shipped:
    web: httpx.Client  # of the entry point for clients and people
    plain: httpx.Client  # of the one for http, where `web` is one for https
    dynamic: Path
    log: Path

    def serve(self, dynamic: dict[str, object]) -> None:
        """A file beside the shipped ones: what labels say in the stacks."""
        draft = self.dynamic.with_name("labels.yml")
        draft.write_text(json.dumps({"http": dynamic} if dynamic else {}))  # JSON is YAML
        draft.replace(self.dynamic / "labels.yml")  # at once: Traefik must not read half of it


@contextmanager
def shipped_traefik(folder: Path, **environment: str) -> Iterator[Shipped]:
    ports = dict(zip(("WEB", "GATE", "PLAIN"), free_ports(3), strict=True))
    dynamic = folder / "dynamic"
    shutil.copytree(CHECKOUT / "deploy" / "traefik" / "stack", dynamic)
    shipped = {
        name: str(value) for name, value in OF_COMPOSE.items() if "$" not in str(value) and name not in OF_DOCKER
    }
    ours = {f"TRAEFIK_ENTRYPOINTS_{name}_ADDRESS": f"127.0.0.1:{port}" for name, port in ports.items()}
    ours |= {"TRAEFIK_PROVIDERS_FILE_DIRECTORY": str(dynamic), "DOMAIN": "localhost", "PROVIDER": "file"}
    ours["TRAEFIK_PROVIDERS_PROVIDERSTHROTTLEDURATION"] = "50ms"
    log = folder / "traefik.log"
    with (
        running([traefik_binary()], env=plain_environment() | shipped | ours | environment, log=log),
        httpx.Client(base_url=f"http://127.0.0.1:{ports['WEB']}", trust_env=False, timeout=10) as web,
        httpx.Client(base_url=f"http://127.0.0.1:{ports['PLAIN']}", trust_env=False, timeout=10) as plain,
    ):
        wait_until(lambda: _routes(web), "Traefik reading its files", 60)
        yield Shipped(web, plain, dynamic, log)


def _routes(client: httpx.Client) -> bool:
    """The shipped file has a router for this host, to error pages that nobody serves here."""
    try:
        return client.get("/", headers={"Host": "api.localhost"}).status_code == 502
    except httpx.TransportError:
        return False
