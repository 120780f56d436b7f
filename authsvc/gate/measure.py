"""What `/metrics` knows of a decision."""

from __future__ import annotations

from authsvc.gate.decision import Decision
from authsvc.gate.verdict import Verdict
from runtime import measures
from runtime.measures import DECISION_TIME, DECISIONS
from runtime.series import NO_MODEL

DECISIONS.expect(*(verdict.word for verdict in Verdict))


def measure(decision: Decision, seconds: float) -> None:
    """Count a decision that took this long."""
    grounds, tally = decision.grounds, decision.tally
    model = NO_MODEL if grounds is None or grounds.model is None else grounds.model.slug  # a property would cost a call
    DECISIONS.count(decision.verdict.word, model)
    DECISION_TIME.observe(seconds)
    if tally is not None:
        if tally.shadow_refused:
            measures.SHADOW_REFUSALS.count(model)
        if tally.violated:
            count_violated(decision)


def count_violated(decision: Decision) -> None:
    """By the kind of limit: their names are the operators' and tenants' own, and without bound."""
    assert decision.grounds is not None and decision.tally is not None
    for place in decision.tally.violated:
        limit = decision.grounds.charge.shown[place]
        measures.OVER_LIMIT.count(limit.scope, limit.window, limit.unit)
