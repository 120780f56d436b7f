"""The models of an account's plan. To its people, other models look as if they did not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from accounts.models import ApiKey
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import Plan


def models_of(plan: Plan) -> set[str]:
    """The slugs of the models that can be called with the plan."""
    return set(plan.included().filter(enabled=True).values_list("slug", flat=True))


def models_of_key(key: ApiKey) -> set[str]:
    """The slugs of the models that can be called with the key: the plan's, as far as the key is not narrowed."""
    models = models_of(key.account.plan)
    return models if key.narrowed_to is None else models & set(key.narrowed_to)


def no_such_models(slugs: Iterable[str], plan: Plan | None) -> str:
    """An error message that says which models the plan has."""
    if plan is None:
        return gettext("Unknown model %(models)s.") % {"models": in_words(slugs)}
    known = sorted(models_of(plan))
    words = {"models": in_words(slugs), "plan": plan.name, "known": ", ".join(known)}
    if not known:
        return gettext("Unknown model %(models)s; the plan %(plan)s has none.") % words
    return gettext("Unknown model %(models)s; the plan %(plan)s has %(known)s.") % words


def in_words(models: Iterable[str]) -> str:
    """For an error message: the names from a request, cut if there are too many."""
    return ", ".join(slug or "''" for slug in sorted(models))[:200]


def refuse_foreign(
    plan: Plan, *, models: Collection[str] | None = None, limits: Collection[Limit] = (), key: ApiKey | None = None
) -> None:
    """Raise ValidationError for models outside the plan, worded as for models that do not exist.

    Models that the key has already may stay: they were once in the plan, or an operator added them.
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
        faults = {field: no_such_models(slugs, plan) for field, slugs in foreign.items()}
        raise ValidationError(faults)
