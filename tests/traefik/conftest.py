"""A real Traefik with the test's own configuration, and its API on loopback."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.place import plain_environment
from deploy.demo.ports import free_ports
from tests.servers import running, wait_until


@dataclass
class RealTraefik:
    """`web` is the port for clients, `gate` that of the internal entry point, `api` that of the API."""

    web: int
    gate: int
    api: int
    folder: Path
    static: dict[str, Any] = field(default_factory=dict)
    marks: Iterator[int] = field(default_factory=count)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api}"

    @property
    def gate_url(self) -> str:
        return f"https://127.0.0.1:{self.gate}"

    def read(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/{what}?per_page=1000", timeout=5) as reply:
            return json.load(reply)

    def serve(self, dynamic: dict[str, Any], name: str = "models") -> None:
        """Write a file for the file provider, and wait until Traefik applies it."""
        mark = f"mark-{next(self.marks)}"  # names may stay as they were: a middleware that nobody uses tells them apart
        whole = {**dynamic, "middlewares": {**dynamic.get("middlewares", {}), mark: {"addPrefix": {"prefix": "/mark"}}}}
        draft = self.folder / f"{name}.draft"
        draft.write_text(json.dumps({"http": whole}))  # JSON is YAML
        draft.replace(self.folder / f"{name}.yml")
        wait_until(lambda: self.has("middlewares", mark), f"Traefik reading {name}.yml")

    def has(self, kind: str, own_name: str) -> bool:
        with suppress(OSError):
            return f"{own_name}@file" in {row["name"] for row in self.read(f"http/{kind}")}
        return False


def traefik_binary() -> str:
    found = shutil.which("traefik") or str(Path(sys.executable).with_name("traefik"))
    if not Path(found).exists():
        pytest.skip("there is no traefik: run `make setup`")
    return found


def hardened() -> dict[str, Any]:
    """The `http` section of an entry point as in the stacks."""
    names = ("Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash")
    return {
        "sanitizePath": True,
        "aliasHeadersStrategy": "reject",
        "maxHeaderBytes": 32768,
        "encodedCharacters": {f"allowEncoded{name}": False for name in names},
    }


def static_of(traefik: RealTraefik) -> dict[str, Any]:
    return {
        "api": {},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "providers": {"file": {"directory": str(traefik.folder), "watch": True}, "providersThrottleDuration": "50ms"},
        "entryPoints": {
            "web": {
                # Not only on loopback, which makes it a public entry point.
                "address": f":{traefik.web}",
                "http": hardened(),
                "transport": {"lifeCycle": {"graceTimeOut": "1s"}},
            },
            "gate": {
                "address": f"127.0.0.1:{traefik.gate}",
                "http": {"aliasHeadersStrategy": "reject", "maxHeaderBytes": 65536},
                "forwardedHeaders": {"trustedIPs": ["127.0.0.1/32"]},
                "transport": {"lifeCycle": {"graceTimeOut": "1s"}},
            },
            "api": {"address": f"127.0.0.1:{traefik.api}", "transport": {"lifeCycle": {"graceTimeOut": "1s"}}},
        },
    }


API_ROUTER = {"routers": {"api": {"entryPoints": ["api"], "rule": "PathPrefix(`/api`)", "service": "api@internal"}}}


@contextmanager
def traefik_in(folder: Path, change=lambda static: None):
    """A separate Traefik; `change` may alter the static configuration before it starts."""
    dynamic = folder / "dynamic"
    dynamic.mkdir(parents=True)
    web, gate, api = free_ports(3)
    traefik = RealTraefik(web, gate, api, dynamic)
    traefik.static = static_of(traefik)
    change(traefik.static)
    (dynamic / "api.yml").write_text(json.dumps({"http": API_ROUTER}))
    file = folder / "traefik.yml"
    file.write_text(json.dumps(copy.deepcopy(traefik.static)))
    log = folder / "traefik.log"
    with running([traefik_binary(), f"--configfile={file}"], env=plain_environment(), log=log) as process:
        wait_until(lambda: process.poll() is not None or traefik.has("routers", "api"), "Traefik answering", 60)
        assert process.poll() is None, log.read_text()[-2000:]
        yield traefik


@pytest.fixture
def start_traefik(tmp_path):
    """`start_traefik(change)`: a Traefik that ends with the test."""
    with ExitStack() as stack:

        def start(change=lambda static: None, name="traefik"):
            return stack.enter_context(traefik_in(tmp_path / name, change))

        yield start


@pytest.fixture
def traefik(start_traefik):
    return start_traefik()
