"""The check for models that can reach each other without the gate, judged by their containers' addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from urllib.parse import urlsplit

from traefik.findings import Finding, Mistake
from traefik.stack import Stack

# Providers whose services are addressed by container. Addresses in a file may be machines, which have firewalls.
_PROVIDERS = ("docker", "swarm")
_SMALLEST = 24  # Docker's default networks are no smaller, so two addresses in one /24 share a network


def check_networks(stack: Stack) -> Iterator[Finding]:
    for network, models in sorted(_models_by_network(stack).items()):
        if len(models) < 2:
            continue
        first, *others = sorted(models)
        yield Finding(
            Mistake.SHARED_NETWORK,
            f"model {first}",
            f"Its container shares the network {network} with {', '.join(others)}: each can call the others without "
            "asking the gate.",
            (f"networks: [{first}]", f"# likewise for Traefik, with `{first}: {{ internal: true }}` below networks:"),
        )


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
            continue  # a name, or IPv6, where Docker gives each network a /64
