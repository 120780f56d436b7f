"""`KnownKey`: a key's facts, its account's and the catalogue's put together, and what follows from them."""

from __future__ import annotations

from typing import Any

from accounts.facts.cache import Cache
from accounts.facts.facts import AccountFacts, KeyFacts
from quotas.buckets import Charge, Versions
from quotas.facts import CatalogueFacts, ModelFacts
from quotas.limits import Limit
from quotas.terms import limits_in_force

# Bytes of each part, as tracemalloc counts them on CPython 3.11, rounded up (tests/accounts/facts/test_cache.py).
_OF_A_KEY, _OF_A_SECRET, _OF_A_NETWORK, _OF_ITS_LIMIT = 1700, 250, 510, 420
_OF_A_LIMIT, _OF_AN_OVERRIDE, _OF_A_MODEL, _OF_A_METHOD = 140, 180, 110, 60
_OF_TERMS, _OF_A_LIMIT_THERE, _OF_COUNTING = 1350, 290, 1000

NO_MODEL = ModelFacts("-", "/", 1, False)  # what refusals are counted under when there is no such model


class Terms:
    """What one key may take when it calls one model, with the parts of the answer that do not change."""

    __slots__ = (
        "auth_headers",
        "charge",
        "head",
        "head_hour",
        "meters_format",
        "plan",
        "policy",
        "policy_hour",
        "rules",
    )  # fmt: skip

    def __init__(self, known: KnownKey, model: ModelFacts, limits: tuple[Limit, ...], secret: int) -> None:
        self.charge = Charge(known.key.public_id, model.slug, model.cost, limits, known.versions, secret)
        self.plan = known.account.plan
        self.rules: tuple[Any, ...] | None = None  # those that its facts leave open: the decision's to fill
        self.auth_headers: list[tuple[bytes, bytes]] | None = None  # the answer's to fill
        self.meters_format = b""
        self.policy = b""
        self.policy_hour = -1
        self.head = b""
        self.head_hour = -1


class KnownKey:
    """Frozen facts; a change of any part makes a new KnownKey."""

    __slots__ = (
        "_counting", "_fits", "_limits", "_terms", "account", "cache", "catalogue", "confirmed", "key", "versions",
    )  # fmt: skip

    def __init__(self, key: KeyFacts, account: AccountFacts, catalogue: CatalogueFacts) -> None:
        self.key, self.account, self.catalogue = key, account, catalogue
        self.cache: Cache[str, KnownKey] | None = None  # which is told what is made for a model
        self.versions = Versions(catalogue.version, account.version, key.version)
        self.confirmed = 0.0  # monotonic seconds: when Redis last said that these versions are in force
        is_over = key.is_over or account.state == "closed"  # nothing is taken, and no counter is kept
        plan = None if is_over else catalogue.plans.get(account.plan)
        self._limits = (
            limits_in_force(plan.limits, account.overrides, account.plan_since, key.limits) if plan is not None else ()
        )
        self._terms: dict[tuple[str, int], Terms] = {}
        self._fits: dict[str, bool] = {}
        self._counting: dict[str, Charge] = {}

    def size(self) -> int:
        """About how many bytes it takes up before it is asked about any model. The catalogue is everybody's."""
        key = self.key
        return (
            _OF_A_KEY
            + _OF_A_SECRET * len(key.secrets)
            + _OF_A_NETWORK * len(key.networks)
            + _OF_ITS_LIMIT * len(key.limits)
            + _OF_A_LIMIT * len(self._limits)
            + _OF_AN_OVERRIDE * len(self.account.overrides)
            + _OF_A_MODEL * len(key.models or ())
            + _OF_A_METHOD * len(key.methods)
        )

    def _grew(self, more: int) -> None:
        if self.cache is not None:
            self.cache.grow(self.key.public_id, self, more)

    def may_use(self, model: ModelFacts) -> bool:
        """Whether the account's plan includes the model and the key is not narrowed away from it."""
        plan = self.catalogue.plans.get(self.account.plan)
        return plan is not None and plan.includes(model.slug) and self.key.admits_model(model.slug)

    def fits(self, model: ModelFacts) -> bool:
        """Whether one call fits into each of its limits when they are empty."""
        fits = self._fits.get(model.slug)
        if fits is None:
            limits = (limit for limit in self._limits if limit.applies_to(model.slug) and not limit.shadow)
            fits = self._fits[model.slug] = all(limit.cost_of(model.cost) <= limit.room for limit in limits)
        return fits

    def terms(self, model: ModelFacts, secret: int) -> Terms:
        """Made once for each model and secret."""
        terms = self._terms.get((model.slug, secret))
        if terms is None:
            limits = tuple(limit for limit in self._limits if limit.applies_to(model.slug))
            terms = self._terms[model.slug, secret] = Terms(self, model, limits, secret)
            self._grew(_OF_TERMS + _OF_A_LIMIT_THERE * len(limits))
        return terms

    def counting(self, model: ModelFacts) -> Charge:
        """What confirms and counts a refusal: no limits."""
        charge = self._counting.get(model.slug)
        if charge is None:
            charge = self._counting[model.slug] = Charge(self.key.public_id, model.slug, 0, (), self.versions)
            self._grew(_OF_COUNTING)
        return charge
