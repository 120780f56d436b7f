"""What `/metrics` knows of decisions."""

from __future__ import annotations

import asyncio

from accounts.facts.lookup import Lookup
from authsvc.gate.decision import Decision
from authsvc.gate.verdict import Verdict
from runtime import measures
from runtime.measures import DECISION_TIME, DECISIONS, FACTS
from runtime.series import NO_MODEL

DECISIONS.expect(*(verdict.word for verdict in Verdict))


class Measured:
    """The decisions of one iteration of the event loop, which are counted together before it waits again.

    Under load that is many. Counted one by one, they spent a twentieth of their time on it.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._loop, self._lookup = asyncio.get_running_loop(), lookup
        self._decisions: dict[tuple[str, str], int] = {}  # by verdict and model
        self._seconds: list[float] = []

    def note(self, decision: Decision, seconds: float) -> None:
        """Count a decision that took this long."""
        grounds, tally = decision.grounds, decision.tally
        # Decision's property would cost a call.
        model = NO_MODEL if grounds is None or grounds.model is None else grounds.model.slug
        name = decision.verdict.word, model
        self._decisions[name] = self._decisions.get(name, 0) + 1
        if not self._seconds:
            self._loop.call_soon(self.count)
        self._seconds.append(seconds)
        if tally is not None:
            if tally.shadow_refused:
                measures.SHADOW_REFUSALS.count(model)
            if tally.violated:
                count_violated(decision)

    def count(self) -> None:
        decisions, seconds, found = self._decisions, self._seconds, self._lookup.recalled
        self._decisions, self._seconds, self._lookup.recalled = {}, [], 0
        for name, number in decisions.items():
            DECISIONS.add(number, *name)
        DECISION_TIME.observe_all(seconds)
        if found:
            FACTS.add(found, "process")


def count_violated(decision: Decision) -> None:
    """By the kind of limit: their names are the operators' and tenants' own, and without bound."""
    assert decision.grounds is not None and decision.tally is not None
    for place in decision.tally.violated:
        limit = decision.grounds.charge.shown[place]
        measures.OVER_LIMIT.count(limit.scope, limit.window, limit.unit)
