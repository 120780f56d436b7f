"""Four keys to try, in keys.env: two that work, one revoked, one expired."""

from __future__ import annotations

import time

from .place import DemoPlace, write_private
from .ports import HOST, status_of
from .service import DemoService

NAMES = ("FREE_KEY", "PRO_KEY", "REVOKED_KEY", "EXPIRED_KEY")
Keys = dict[str, str]


def kept_keys(place: DemoPlace) -> Keys | None:
    """The keys of an earlier start, if each still behaves as its name says."""
    try:
        lines = place.keys.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    keys = dict(line.split("=", 1) for line in lines if "=" in line)
    if set(keys) != set(NAMES):
        return None
    as_named = all(_is_known(place, keys[name]) == (name in ("FREE_KEY", "PRO_KEY")) for name in NAMES)
    return keys if as_named else None


def new_keys(place: DemoPlace, service: DemoService) -> Keys:
    expired = _issue(service, "demo-free", "free", "expired", "--expires-in", "1s")
    issued = time.monotonic()
    keys = {
        "FREE_KEY": _issue(service, "demo-free", "free", "free"),
        "PRO_KEY": _issue(service, "demo-pro", "pro", "pro"),
        "REVOKED_KEY": _issue(service, "demo-free", "free", "revoked"),
        "EXPIRED_KEY": expired,
    }
    service.manage("revoke_key", public_id(keys["REVOKED_KEY"]))
    time.sleep(max(0.0, issued + 1.1 - time.monotonic()))
    write_private(place.keys, "".join(f"{name}={keys[name]}\n" for name in NAMES))
    return keys


def public_id(key: str) -> str:
    return key.split("_")[1]


def _issue(service: DemoService, account: str, plan: str, name: str, *more: str) -> str:
    return service.manage("issue_key", "--account", account, "--plan", plan, "--name", name, *more)


def _is_known(place: DemoPlace, key: str) -> bool:
    """Ask about a model that does not exist: a valid key gets 403, and nothing is counted."""
    question = {
        "Authorization": f"Bearer {key}",
        "X-Forwarded-Uri": "/nobodys/",
        "X-Forwarded-Method": "GET",
        "X-Forwarded-For": HOST,
    }
    return status_of(place.gate, "/auth/?model=nobodys", question) == 403
