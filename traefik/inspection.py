"""`inspect()` runs all checks on a Traefik and a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from traefik.check_catalogue import check_catalogue, check_version
from traefik.check_forward_auths import check_forward_auths
from traefik.check_networks import check_networks
from traefik.check_points import check_points
from traefik.check_routes import check_routes, check_shadowed
from traefik.findings import Finding, Mistake
from traefik.stack import Stack

CHECKS: tuple[Callable[[Stack], Iterator[Finding]], ...] = (
    check_version,
    check_routes,
    check_shadowed,
    check_forward_auths,
    check_points,
    check_catalogue,
    check_networks,
)


def inspect(stack: Stack) -> list[Finding]:
    """All findings, in the order of `Mistake`; empty if no known mistake was found."""
    order = list(Mistake)
    found = (finding for check in CHECKS for finding in check(stack))
    return sorted(found, key=lambda finding: (order.index(finding.mistake), finding.where))
