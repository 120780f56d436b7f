"""Registers models that Traefik serves and the catalogue lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accounts.facts.publish import Publication, models_base
from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from quotas import rules
from quotas.catalogue.applying import register
from quotas.models import SLUG, Catalogue, ServedModel
from traefik.discovery import FoundModel

ACTOR = Actor.command("discover_models")


@dataclass(frozen=True, slots=True)
class Discovery:
    """The result of one look: what was registered, and what needs an operator."""

    changes: tuple[str, ...]
    remarks: tuple[str, ...]
    is_pending: bool = False


def write_down(found: Iterable[FoundModel]) -> Discovery:
    """Register what the catalogue lacks, and remark on what Traefik does not serve."""
    found = list(found)
    known = dict(ServedModel.objects.values_list("slug", "path"))
    remarks = [*_gone(found), *_elsewhere(found, known)]
    lacking, refused = _acceptable([model for model in found if model.slug not in known], known)
    if not lacking:  # the usual case: nothing to write, no lock to take
        return Discovery((), (*remarks, *refused))
    lines, publication = change_catalogue(lambda: _register(lacking), actor=ACTOR)
    return Discovery(tuple(lines), (*remarks, *refused), _is_pending(lines, publication))


def _is_pending(lines: list[str], publication: Publication) -> bool:
    return bool(lines) and publication.is_pending


def _register(lacking: Iterable[FoundModel]) -> Iterator[str]:
    """Wait for any change to the catalogue in progress, and build on its result."""
    Catalogue.objects.get_or_create(pk=1)
    models_base(Catalogue).select_for_update().get(pk=1)
    for model in lacking:
        known = dict(ServedModel.objects.values_list("slug", "path"))
        if model.slug not in known and not any(rules.conflicting_paths(known | {model.slug: model.path})):
            yield from register(model.slug, model.path)


def _acceptable(lacking: list[FoundModel], known: dict[str, str]) -> tuple[list[FoundModel], list[str]]:
    """The models that can be registered, and why the others cannot."""
    good: list[FoundModel] = []
    refused: list[str] = []
    taken = dict(known)
    for model in lacking:
        reason = _objection(model, taken)
        if reason:
            refused.append(f"model {model.slug}: not registered, {reason} (router {', '.join(model.routers)})")
        else:
            taken[model.slug] = model.path
            good.append(model)
    return good, refused


def _objection(model: FoundModel, taken: dict[str, str]) -> str:
    if not re.fullmatch(SLUG, model.slug):
        return "its name is not a slug: use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit"
    if not model.path:
        rule = f"Path(`/{model.slug}`) || PathPrefix(`/{model.slug}/`)"
        return f"its rules have no common path: write {rule}"
    return next((text for _, _, text in rules.conflicting_paths(taken | {model.slug: model.path})), "")


def _gone(found: Iterable[FoundModel]) -> Iterator[str]:
    """Only remark on them: a container may be down, and usage, plans and keys refer to the model."""
    served = {model.slug for model in found}
    for slug in ServedModel.objects.filter(enabled=True).exclude(slug__in=served).values_list("slug", flat=True):
        yield f"model {slug}: in the catalogue, but no router in Traefik asks the gate about it"


def _elsewhere(found: Iterable[FoundModel], known: dict[str, str]) -> Iterator[str]:
    for model in found:
        path = known.get(model.slug)
        outside = [prefix for prefix in model.prefixes if path and not f"{prefix}/".startswith(f"{path}/")]
        if outside:
            yield (
                f"model {model.slug}: a router matches {', '.join(outside)}, but the catalogue has {path}; the gate "
                "refuses those calls"
            )
