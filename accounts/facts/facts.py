"""What the gate knows about a key and its account: frozen, complete, and parsed once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from sys import intern
from types import MappingProxyType

from quotas.facts import limit_from_json
from quotas.limits import Limit
from runtime.networks import Network, plain_network, read_address


@dataclass(frozen=True, slots=True)
class SecretFacts:
    id: int
    digest: bytes
    pepper: str
    until: float | None  # seconds since 1970: the end of a rotation's grace

    def has_ended(self, now: float) -> bool:
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True)
class KeyFacts:
    public_id: str
    version: int
    secrets: tuple[SecretFacts, ...]
    models: frozenset[str] | None
    networks: tuple[Network, ...]
    methods: frozenset[str]
    limits: tuple[Limit, ...]
    expires: float | None  # seconds since 1970
    revoked: bool
    paused: bool = False

    @property
    def is_over(self) -> bool:
        """It is revoked or of a closed account: little is kept of it, and none of its secrets."""
        return not self.secrets

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def admits_address(self, address: str) -> bool:
        if not self.networks:
            return True
        client = read_address(address)
        return any(client in network for network in self.networks)

    def admits_method(self, method: str) -> bool:
        return not self.methods or method in self.methods

    def admits_model(self, model: str) -> bool:
        return self.models is None or model in self.models


@dataclass(frozen=True, slots=True)
class OverrideFacts:
    amount: int
    burst: int | None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    public_id: str
    version: int
    state: str  # active, suspended, closed
    plan: str
    plan_since: int  # microseconds since 1970
    overrides: Mapping[str, OverrideFacts]


# What most keys have in common is kept once: a process holds tens of thousands of them.
ANY_METHOD: frozenset[str] = frozenset()
NO_OVERRIDES: Mapping[str, OverrideFacts] = MappingProxyType({})


def key_from_json(text: str | bytes) -> KeyFacts:
    """Parse the JSON of `snapshot.read_key`."""
    value = json.loads(text)
    return KeyFacts(
        public_id=value["public_id"],
        version=value["version"],
        secrets=tuple(
            SecretFacts(s["id"], bytes.fromhex(s["digest"]), intern(s["pepper"]), s["until"]) for s in value["secrets"]
        ),
        models=None if value["models"] is None else frozenset(value["models"]),
        networks=tuple(plain_network(ip_network(network)) for network in value["networks"]),
        methods=frozenset(value["methods"]) if value["methods"] else ANY_METHOD,
        limits=tuple(map(limit_from_json, value["limits"])),
        expires=value["expires"],
        revoked=value["revoked"] and not value.get("paused", False),
        paused=value.get("paused", False),
    )


def account_from_json(text: str | bytes) -> AccountFacts:
    """Parse the JSON of `snapshot.read_account`."""
    value = json.loads(text)
    overrides = {name: OverrideFacts(**override) for name, override in value["overrides"].items()}
    return AccountFacts(
        public_id=value["public_id"],
        version=value["version"],
        state=intern(value["state"]),
        plan=intern(value["plan"]),
        plan_since=value["plan_since"],
        overrides=overrides or NO_OVERRIDES,
    )
