"""Models that reach each other past the gate, as far as their containers' addresses tell."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from urllib.parse import urlsplit

from traefik.findings import Finding, Mistake
from traefik.stack import Stack

# Whose services have the addresses of containers. What a file names may be machines, which have firewalls.
_PROVIDERS = ("docker", "swarm")
_SMALLEST = 24  # Docker's own networks are no smaller, so that two addresses of one /24 are in one network


def check_networks(stack: Stack) -> Iterator[Finding]:
    for network, models in sorted(_models_by_network(stack).items()):
        if len(models) < 2:
            continue
        first, *others = sorted(models)
        yield Finding(
            Mistake.SHARED_NETWORK, f"model {first}",
            f"Its container and that of {', '.join(others)} have addresses in {network}, so in one network: each can "
            "call the others, and nobody asks the gate.",
            (f"networks: [{first}]", f"# likewise for Traefik, with `{first}: {{ internal: true }}` below networks:"),
        )  # fmt: skip


def _models_by_network(stack: Stack) -> dict[IPv4Network, set[str]]:
    found: dict[IPv4Network, set[str]] = {}
    for model, routers in stack.gated_for.items():
        for router in routers if model else ():
            for network in _networks(stack, router.service):
                found.setdefault(network, set()).add(model)
    return found


def _networks(stack: Stack, service: str) -> Iterator[IPv4Network]:
    if service.rpartition("@")[2] not in _PROVIDERS:
        return
    for origin in stack.servers(service):
        try:
            yield IPv4Network((urlsplit(origin).hostname or "", _SMALLEST), strict=False)
        except ValueError:
            continue  # a name; or IPv6, of which Docker gives each network a /64
