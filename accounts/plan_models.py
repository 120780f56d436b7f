"""The models of an account's plan: all that its people get to know of. Others are as unknown to them as none at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.core.exceptions import ValidationError

from accounts.models import ApiKey
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import Plan


def models_of(plan: Plan) -> set[str]:
    """Those that can be called with the plan."""
    return set(plan.included().filter(enabled=True).values_list("slug", flat=True))


def models_of_key(key: ApiKey) -> set[str]:
    """Those that can be called with the key: of the plan, and not narrowed away."""
    models = models_of(key.account.plan)
    return models if key.narrowed_to is None else models & set(key.narrowed_to)


def listed(plan: Plan) -> str:
    """For a refusal, behind what it says: the models that the plan has."""
    return f"; the plan {plan.name} has {', '.join(sorted(models_of(plan))) or 'none'}"


def in_words(models: Iterable[str]) -> str:
    """For a refusal: names that somebody wrote, cut where there are too many."""
    return ", ".join(slug or "''" for slug in sorted(models))[:200]


def refuse_foreign(
    plan: Plan, *, models: Collection[str] | None = None, limits: Collection[Limit] = (), key: ApiKey | None = None
) -> None:
    """Raise the ValidationError for models outside of the plan, in the words for those that do not exist.

    What the key has already may stay: it was in the plan once, or an operator put it there.
    """
    named = {limit.model for limit in limits} - {EVERY_MODEL}
    wanted = {"models": set(models or ()), "limits": named}
    if not any(wanted.values()):
        return
    known = models_of(plan)
    if key is not None:
        known |= {*(key.narrowed_to or ()), *key.limits.exclude(model=None).values_list("model__slug", flat=True)}
    foreign = {field: slugs - known for field, slugs in wanted.items() if slugs - known}
    if foreign:
        faults = {field: f"Unknown model {in_words(slugs)}{listed(plan)}." for field, slugs in foreign.items()}
        raise ValidationError(faults)
