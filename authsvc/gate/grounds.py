"""`Grounds`: the facts that a decision rests on, with what follows from them and is remembered for speed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from accounts.facts.facts import SecretFacts
from accounts.facts.known import HeldKey, KnownKey
from accounts.facts.lookup import Lookup
from authsvc.gate.question import Question
from authsvc.gate.rendering import Rendered
from authsvc.gate.verdict import Verdict
from quotas.buckets import Charge
from quotas.facts import ModelFacts

NO_MODEL = ModelFacts("-", "/", 1, False)  # refusals are counted under it where there is no such model

# Bytes, as tracemalloc counts them on CPython 3.11, rounded up (tests/accounts/facts/test_cache.py).
_OF_GROUNDS, _OF_A_LIMIT, _OF_COUNTING = 1100, 290, 600


class Rule(NamedTuple):
    """A verdict, and when it is given: with facts that allow for it and, unless they suffice, on what the call is."""

    verdict: Verdict
    by_facts: Callable[[Grounds], bool]
    by_call: Callable[[Grounds, Question], bool] | None = None

    def refuses(self, grounds: Grounds, question: Question) -> bool:
        return self.by_facts(grounds) and (self.by_call is None or self.by_call(grounds, question))


class Grounds:
    """A key, the secret that was presented, and the model at the path; None where no secret or no model matches.

    `charge` is what a call takes, `open_rules` are those that these facts allow to refuse a call, and `rendered` is the
    answer's constant parts.
    """

    __slots__ = ("charge", "known", "model", "open_rules", "rendered", "secret")

    def __init__(self, known: KnownKey, secret: SecretFacts | None, model: ModelFacts | None, charge: Charge) -> None:
        self.known, self.secret, self.model, self.charge = known, secret, model, charge
        self.open_rules: Iterable[Rule] = ()
        self.rendered: Rendered | None = None

    def keep(self, held: HeldKey, lookup: Lookup) -> None:
        """Remember them for as long as the key's facts are held."""
        assert self.secret is not None
        size = _OF_GROUNDS + _OF_A_LIMIT * len(self.charge.limits)
        lookup.keep_beside(held, (self.charge.model, self.secret.id), self, size)


def charge_for(known: KnownKey, model: ModelFacts, secret: SecretFacts | None) -> Charge:
    """What a call to the model takes from the key's limits."""
    limits, secret_id = known.limits_for(model.slug), 0 if secret is None else secret.id
    return Charge(known.key.public_id, model.slug, model.cost, limits, known.versions, secret_id)


def counting(held: HeldKey, model: ModelFacts | None, lookup: Lookup) -> Charge:
    """What confirms and counts a refusal: it takes from no limit."""
    slug = (model or NO_MODEL).slug
    charge: Charge | None = held.beside.get(slug)
    if charge is None:
        charge = Charge(held.known.key.public_id, slug, 0, (), held.known.versions)
        lookup.keep_beside(held, slug, charge, _OF_COUNTING)
    return charge
