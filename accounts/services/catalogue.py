"""Changes of models, plans and their limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from accounts.facts.publish import Publication, change
from accounts.services.acts import Actor
from accounts.services.record import record_change
from quotas.models import Catalogue


def change_catalogue(apply: Callable[[], Iterable[str]], *, actor: Actor) -> tuple[list[str], Publication]:
    """Run `apply`, which changes models, plans or limits and returns a line for each change."""
    with change() as publication:
        lines = list(apply())
        if lines:
            publication.of_catalogue()
            record_change(actor, "catalogue.change", None, "catalogue", None, {"changed": lines})
        elif not Catalogue.objects.filter(pk=1).exists():
            publication.of_catalogue()
    return lines, publication
