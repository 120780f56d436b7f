"""Checks of the limits that an account or a key may have besides its plan's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from quotas import rules
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import Plan, ServedModel


def costs_of(plan: Plan, narrowed_to: list[str] | None) -> dict[str, int]:
    """The cost of a call to each model that can be called, by slug."""
    models = plan.included()
    if narrowed_to is not None:
        models = models.filter(slug__in=narrowed_to)
    return dict(models.values_list("slug", "cost"))


def hold(limits: Sequence[Limit], costs: Mapping[str, int], *, of: str = "limits") -> None:
    """Raise ValidationError for limits that a plan may not have either."""
    named = {limit.model for limit in limits} - {EVERY_MODEL}
    unknown = named - set(ServedModel.objects.filter(slug__in=named).values_list("slug", flat=True))
    faults = [gettext("Unknown model %(models)s.") % {"models": slug} for slug in sorted(unknown)]
    faults += [f"{limit.name}: {text}" for limit in limits for _, text in rules.out_of_range(limit)]
    faults += [text for _, text in rules.doubles(limits)]
    faults += [text for _, text in rules.costs_that_never_fit(limits, costs)]
    if faults:
        raise ValidationError({of: faults})
