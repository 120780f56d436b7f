"""`inspect()`: everything that is wrong with how a Traefik leads to models and to the gate."""

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
    """Every finding, in the order of `Mistake`; none means that nothing known is wrong."""
    order = list(Mistake)
    found = (finding for check in CHECKS for finding in check(stack))
    return sorted(found, key=lambda finding: (order.index(finding.mistake), finding.where))
