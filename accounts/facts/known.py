"""`KnownKey`: the facts of a key, its account and the catalogue together. `HeldKey`: one that a process holds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from accounts.facts.facts import AccountFacts, KeyFacts
from quotas.buckets import Versions
from quotas.facts import CatalogueFacts, ModelFacts
from quotas.limits import Limit
from quotas.terms import limits_in_force

# Bytes of each part, as tracemalloc counts them on CPython 3.11, rounded up (tests/accounts/facts/test_cache.py).
_OF_A_KEY, _OF_A_SECRET, _OF_A_NETWORK, _OF_ITS_LIMIT = 900, 220, 510, 420
_OF_A_LIMIT, _OF_AN_OVERRIDE, _OF_A_MODEL, _OF_A_METHOD = 110, 180, 110, 60


@dataclass(frozen=True, slots=True, eq=False)
class KnownKey:
    """Frozen: a change of any part makes a new KnownKey."""

    key: KeyFacts
    account: AccountFacts
    catalogue: CatalogueFacts
    versions: Versions
    limits: tuple[Limit, ...]  # in force for this key, for all models

    @classmethod
    def of(cls, key: KeyFacts, account: AccountFacts, catalogue: CatalogueFacts) -> KnownKey:
        versions = Versions(catalogue.version, account.version, key.version)
        plan = catalogue.plans.get(account.plan)
        if plan is None or key.is_over or account.state == "closed":  # nothing is taken, and no counter is kept
            return cls(key, account, catalogue, versions, ())
        limits = limits_in_force(plan.limits, account.overrides, account.plan_since, key.limits)
        return cls(key, account, catalogue, versions, limits)

    @property
    def is_over(self) -> bool:
        """It is revoked, or of a closed account, and was published without its secrets.

        A key without secrets that is neither is just being published again.
        """
        return self.key.is_over and (self.key.revoked or self.account.state == "closed")

    def may_use(self, model: ModelFacts) -> bool:
        """Whether the account's plan includes the model and the key is not narrowed away from it."""
        plan = self.catalogue.plans.get(self.account.plan)
        return plan is not None and plan.includes(model.slug) and self.key.admits_model(model.slug)

    def limits_for(self, model: str) -> tuple[Limit, ...]:
        return tuple(limit for limit in self.limits if limit.applies_to(model))

    def has_room_for(self, model: ModelFacts) -> bool:
        """Whether each enforced limit, when nothing has been used, has room for one call to the model."""
        enforced = (limit for limit in self.limits_for(model.slug) if not limit.shadow)
        return all(limit.cost_of(model.cost) <= limit.room for limit in enforced)

    def size(self) -> int:
        """About how many bytes it takes up. The catalogue is shared by all keys and not counted."""
        key = self.key
        return (
            _OF_A_KEY
            + _OF_A_SECRET * len(key.secrets)
            + _OF_A_NETWORK * len(key.networks)
            + _OF_ITS_LIMIT * len(key.limits)
            + _OF_A_LIMIT * len(self.limits)
            + _OF_AN_OVERRIDE * len(self.account.overrides)
            + _OF_A_MODEL * len(key.models or ())
            + _OF_A_METHOD * len(key.methods)
        )


class HeldKey:
    """A key that this process holds: its facts, when Redis last confirmed them, and what others keep beside them."""

    __slots__ = ("beside", "confirmed", "known")

    def __init__(self, known: KnownKey) -> None:
        self.known = known
        self.confirmed = 0.0  # monotonic seconds: when Redis last said that these versions are in force
        self.beside: dict[Hashable, Any] = {}  # made from these facts, and forgotten with them
