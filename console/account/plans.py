"""The plans that the operator offers, beside the account's own, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from accounts import caps
from accounts.models import Account
from console.catalogue import limits_of
from console.limits import sentence
from quotas.limits import EVERY_MODEL, WINDOWS, Limit
from quotas.models import Plan, ServedModel, included_in

MOST_OFFERED = 6
MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class PlanInWords:
    """A column of the comparison."""

    title: str
    is_own: bool
    models: list[str]
    more_models: int
    most_keys: int
    limits: list[str]


def compared(account: Account) -> list[PlanInWords]:
    """The account's plan first; empty if there is nothing to compare it with."""
    offered = Plan.objects.filter(offered=True).exclude(pk=account.plan_id)
    others = list(
        offered.prefetch_related("limits__model", "served_models").order_by("max_keys", "name")[:MOST_OFFERED]
    )
    if not others:
        return []
    enabled = list(ServedModel.objects.filter(enabled=True).order_by("slug"))
    own = _in_words(account.plan, enabled, limits_of(account), caps.most_keys_of(account), is_own=True)
    return [own, *(_in_words(plan, enabled, _limits(plan), plan.max_keys, is_own=False) for plan in others)]


def _in_words(
    plan: Plan, enabled: list[ServedModel], limits: list[Limit], most_keys: int, *, is_own: bool
) -> PlanInWords:
    ids = set(ServedModel.objects.filter(included_in([plan]) & Q(enabled=True)).values_list("slug", flat=True))
    models = [model for model in enabled if model.slug in ids]
    shown = [limit for limit in limits if limit.model == EVERY_MODEL or limit.model in ids]
    return PlanInWords(
        plan.title or plan.name,
        is_own,
        [model.title or model.slug for model in models[:MOST_NAMED]],
        max(len(models) - MOST_NAMED, 0),
        most_keys,
        [sentence(limit) for limit in shown],
    )


def _limits(plan: Plan) -> list[Limit]:
    """What the plan enforces; a limit in shadow is the operator's rehearsal."""
    limits = [row.value() for row in plan.limits.all() if not row.shadow]
    return sorted(limits, key=lambda limit: (WINDOWS.index(limit.window), limit.name))
