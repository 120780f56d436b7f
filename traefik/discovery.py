"""Models found in Traefik: those that a router's ForwardAuth pins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quotas.models import SEGMENT
from traefik.api import Configuration, Middleware, Router
from traefik.auth_address import AuthAddress, origin_of, read_auth_address
from traefik.rule import read_rule

_PATH = rf"(/{SEGMENT}){{1,8}}"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that Traefik's routers pin, with the paths in their rules.

    `path` is the common prefix of all of these, "" if there is none.
    """

    slug: str
    path: str
    prefixes: tuple[str, ...]
    routers: tuple[str, ...]


def find_models(configuration: Configuration, gate_url: str = "") -> list[FoundModel]:
    """The models that enabled routers pin, sorted by name."""
    pinned: dict[str, list[Router]] = {}
    for router in configuration.routers:
        if router.is_enabled and (pin := pin_of(configuration, router, gate_url)):
            pinned.setdefault(pin, []).append(router)
    return [_found(slug, routers) for slug, routers in sorted(pinned.items())]


def _found(slug: str, routers: list[Router]) -> FoundModel:
    rules = [read_rule(router.rule) for router in routers]
    named = tuple(dict.fromkeys(prefix for rule in rules for prefix in rule.prefixes()))
    unnamed = not named and all(rule.may_match(f"/{slug}/x") for rule in rules)
    path = f"/{slug}" if unnamed else common_path(slug, named)
    return FoundModel(slug, path, named, tuple(router.name for router in routers))


def pin_of(configuration: Configuration, router: Router, gate_url: str = "") -> str:
    """The model pinned by the router's first ForwardAuth to the gate, or ""."""
    address = next((found for _, found in forward_auths(configuration.chain(router), gate_url)), None)
    return (address.pin or "") if address else ""


def forward_auths(chain: Iterable[Middleware], gate_url: str = "") -> Iterator[tuple[Middleware, AuthAddress]]:
    """The ForwardAuths that ask our gate, not some other authentication service."""
    ours = origin_of(gate_url)
    for middleware in chain:
        if middleware.kind != "forwardauth":
            continue
        address = read_auth_address(str(middleware.options.get("address", "")))
        if address is not None and address.is_for_a_gate and (ours is None or address.is_asked_at(ours)):
            yield middleware, address


def common_path(slug: str, named: Iterable[str]) -> str:
    """The common prefix of these paths: /SLUG if it is one, else the longest one of whole segments."""
    named = list(named)
    if named and all(f"{prefix}/".startswith(f"/{slug}/") for prefix in named):
        return f"/{slug}"
    shared: list[str] = []
    for segments in zip(*(prefix.split("/") for prefix in named), strict=False):
        if len(set(segments)) > 1:
            break
        shared.append(segments[0])
    path = "/".join(shared)
    return path if re.fullmatch(_PATH, path) else ""
