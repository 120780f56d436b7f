"""`inspect()`: everything that is wrong with how a Traefik leads to models and to the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.check_catalogue import check_catalogue, check_version
from gateway.check_networks import check_networks
from gateway.check_points import check_points
from gateway.check_question import check_questions
from gateway.check_routes import check_routes, check_shadowed
from gateway.findings import Finding, Mistake
from gateway.stack import Stack

CHECKS: tuple[Callable[[Stack], Iterator[Finding]], ...] = (
    check_version,
    check_routes,
    check_shadowed,
    check_questions,
    check_points,
    check_catalogue,
    check_networks,
)


def inspect(stack: Stack) -> list[Finding]:
    """Every finding, in the order of `Mistake`; none means that nothing known is wrong."""
    order = list(Mistake)
    found = (finding for check in CHECKS for finding in check(stack))
    return sorted(found, key=lambda finding: (order.index(finding.mistake), finding.where))
