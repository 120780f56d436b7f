"""A refusal as the gate would answer it, for the page that explains it: rendered by the gate's own code."""

from __future__ import annotations

from accounts.facts.facts import AccountFacts, KeyFacts, SecretFacts
from accounts.facts.known import KnownKey
from authsvc.gate.answer import Answer, answer
from authsvc.gate.decision import Decision
from authsvc.gate.grounds import Grounds, charge_for
from authsvc.gate.verdict import Verdict
from quotas.buckets import Tally
from quotas.facts import CatalogueFacts, ModelFacts, PlanFacts
from quotas.limits import EVERY_MODEL, Limit

REQUEST_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"

_MODEL = ModelFacts("en_core_web_sm", "/en_core_web_sm", 1, True)
_LIMITS = (
    Limit(name="minute", scope="account", amount=60, window="minute", burst=10),
    Limit(name="month", scope="account", amount=10_000, window="month", unit="units"),
)
_PLAN = PlanFacts("free", frozenset({EVERY_MODEL}), _LIMITS)
_OVER_THE_MINUTE = Tally(granted=False, meters=(0, 10, 8_123, 400_000), wait=1, violated=(0,))


def specimen(verdict: Verdict) -> Answer:
    """The answer to a call that ends with this verdict."""
    key = KeyFacts(
        public_id="aaaaaaaabbbbbbbb",
        version=1,
        secrets=(SecretFacts(1, b"", "", None),),
        models=None,
        networks=(),
        methods=frozenset(),
        limits=(),
        expires=None,
        revoked=False,
    )
    account = AccountFacts("aaaaaaaa", 1, "active", _PLAN.name, 0, {})
    catalogue = CatalogueFacts(1, {_MODEL.slug: _MODEL}, {_PLAN.name: _PLAN}, False, {_MODEL.path: (_MODEL,)})
    known = KnownKey.of(key, account, catalogue)
    grounds = Grounds(known, None, _MODEL, charge_for(known, _MODEL, None))
    tally = _OVER_THE_MINUTE if verdict is Verdict.OVER_LIMIT else None
    return answer(Decision(verdict, grounds=grounds, tally=tally), REQUEST_ID)
