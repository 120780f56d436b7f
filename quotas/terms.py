"""The limits in force for a key: the plan's with the account's overrides, narrowed by the key's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from quotas.limits import Limit


class Amounts(Protocol):
    @property
    def amount(self) -> int: ...
    @property
    def burst(self) -> int | None: ...


def limits_in_force(
    plan: Iterable[Limit], overrides: Mapping[str, Amounts], plan_since: int, narrowing: Iterable[Limit]
) -> tuple[Limit, ...]:
    """The limits of one key of an account, for all models.

    A key's own limit narrows the plan's limit with the same counter, or is added to the plan's limits, renamed if the
    plan uses its name for a different counter. It can never widen: the smaller amount and burst apply.
    """
    limits = [_counted_since(plan_since, _overridden(limit, overrides)) for limit in plan]
    for own in narrowing:
        same = next((i for i, limit in enumerate(limits) if limit.identity == own.identity), None)
        if same is not None and not limits[same].shadow:
            limits[same] = _narrowed(limits[same], own)
        elif same is not None:
            limits[same] = replace(own, name=limits[same].name)
        else:
            limits.append(replace(own, name=_free_name(own.name, {limit.name for limit in limits})))
    return tuple(limits)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"key-{name}"
    return name


def _counted_since(plan_since: int, limit: Limit) -> Limit:
    """Only calendar limits need to know since when. The others stay the plan's own objects, one for all keys."""
    return limit if limit.is_smoothed or limit.since >= plan_since else replace(limit, since=plan_since)


def _overridden(limit: Limit, overrides: Mapping[str, Amounts]) -> Limit:
    override = overrides.get(limit.name)
    if override is None:
        return limit
    return replace(limit, amount=override.amount, burst=limit.burst if override.burst is None else override.burst)


def _narrowed(limit: Limit, own: Limit) -> Limit:
    burst = min(limit.room, own.room) if limit.is_smoothed else None
    return replace(limit, amount=min(limit.amount, own.amount), burst=burst)
