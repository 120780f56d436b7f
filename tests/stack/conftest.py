"""The pieces of the demo on free ports: a real Traefik, gate, store and worker, and models that echo what they received."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from accounts import keys as key_strings
from deploy.demo import sample_keys
from deploy.demo.children import Children
from deploy.demo.demo import Demo
from deploy.demo.place import CHECKOUT, secret_in, take_place
from deploy.demo.ports import free_ports, is_free, status_of
from deploy.demo.sample_models import SPACY_MODELS, ModelServer
from deploy.demo.service import DemoService
from deploy.demo.traefik import start_traefik
from tests.patient import PATIENT
from tests.stack import wire

HERE = Path(__file__).parent


def echo_model(name: str) -> ModelServer:
    return ModelServer(name, (sys.executable, "-m", "tests.stack.echo", name, "{port}"))


@dataclass(frozen=True)
class Client:
    """Sends requests through Traefik, with `key` if given."""

    port: int
    keys: dict[str, str]

    def bearer(self, key: str) -> str:
        return f"Authorization: Bearer {self.keys[key]}"

    def ask(self, target, *lines, key=None, method="GET", body=b""):
        lines = (*lines, self.bearer(key)) if key else lines
        return wire.ask(self.port, target, *lines, method=method, body=body)

    def ask_h2(self, target, *headers, key=None, method="GET"):
        headers = (*headers, ("authorization", f"Bearer {self.keys[key]}")) if key else headers
        return wire.ask_h2(self.port, target, *headers, method=method)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    models = (SPACY_MODELS[0], echo_model("echo"), echo_model("echo2"))
    place = take_place(tmp_path_factory.mktemp("stack"), _first_of_two_free_ports(), models=len(models))
    stack = Demo(place, models, HERE / "catalogue.toml", report=lambda line: None)
    stack.service = DemoService(place, more=PATIENT)
    try:
        stack.start()
        yield stack
        stack.require_alive()
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def client(stack):
    return Client(stack.place.gateway, _keys(stack))


@pytest.fixture
def client_of_403(stack, tmp_path):
    """Another gate on the same stores, with 403 over a limit, behind another Traefik in front of the same models."""
    gate, admin, unused = free_ports(3)
    place = replace(stack.place, gateway=_first_of_two_free_ports(), gate=gate, admins=(admin, unused))
    service = DemoService(place, more={**PATIENT, "AUTHSVC_OVER_LIMIT_STATUS": "403"})
    children = Children(tmp_path, CHECKOUT)
    try:
        service.start_gate(children, processes=1)
        start_traefik(place, children, stack.models)
        children.wait_until(lambda: status_of(place.gateway, "/echo/") == 401, "The gate behind Traefik")
        yield Client(place.gateway, {"hourly": _issue(stack, "hourly_403", "hourly")})
    finally:
        children.stop()


def _first_of_two_free_ports():
    return next(port for port in free_ports(20) if is_free(port + 1))


# What each key is for, and how it is issued.
ISSUED = {
    "expired": ("echo", "--expires-in", "1s"),
    "all": ("all",),
    "echo": ("echo",),
    "echo2": ("echo2",),
    "narrowed": ("all", "--model", "echo"),
    "elsewhere": ("all", "--allow-ip", "192.0.2.0/24"),
    "hourly": ("hourly",),
    "hourly_head": ("hourly",),
    "monthly": ("monthly",),
    "revoked": ("echo",),
}


def _keys(stack):
    with ThreadPoolExecutor(2) as commands:
        texts = commands.map(lambda name: _issue(stack, name, *ISSUED[name]), ISSUED)
        keys = dict(zip(ISSUED, texts, strict=True))
    stack.service.manage("revoke_key", sample_keys.public_id(keys["revoked"]))
    return keys | _never_issued(stack, keys["echo"])


def _issue(stack, name, plan, *more):
    return stack.service.manage("issue_key", "--account", f"{name}s", "--plan", plan, "--name", name, *more)


def _never_issued(stack, good):
    """Plausible keys: minted by us but not stored, minted by others, and a known id with a different secret."""
    ours = key_strings.Pepper.of(secret_in(stack.place.root / "key_pepper"))
    theirs = key_strings.Pepper.of("another pepper, of another installation")
    unknown = key_strings.new_key_id(key_strings.new_account_id())
    known = sample_keys.public_id(good)
    return {
        "unknown": key_strings.new_key(unknown, "ask", ours).text,
        "forged": key_strings.new_key(unknown, "ask", theirs).text,
        "wrong": key_strings.new_key(known, "ask", ours).text,
    }
