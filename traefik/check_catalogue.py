"""Checks that compare the catalogue with the routers, and the check of Traefik's version."""

from __future__ import annotations

import re
from collections.abc import Iterator

from traefik.api import Router
from traefik.findings import Finding, Mistake
from traefik.stack import Stack

OLDEST = (3, 7, 13)  # fixes all advisories published up to then


def check_catalogue(stack: Stack) -> Iterator[Finding]:
    pinned: dict[str, str] = {}
    for router in stack.gated:
        if slug := stack.pinned(router):
            pinned.setdefault(slug, router.name)
    missed = {
        stack.model_at(router) for router in stack.routers if not _is_pinned_well(stack, router)
    }  # reported elsewhere
    for slug, model in sorted(stack.catalogue.items()):
        if model.is_enabled and slug not in pinned and slug not in missed:
            yield Finding(
                Mistake.MODEL_WITHOUT_ROUTE,
                f"model {slug}",
                "No router asks the gate about it.",
                (f"manage.py model_labels {slug}", f"# or, below [models.{slug}] of the catalogue: enabled = false"),
            )
    for slug, name in sorted(pinned.items()):
        if slug not in stack.catalogue:
            yield Finding(
                Mistake.ROUTE_WITHOUT_MODEL,
                f"router {name}",
                f"{slug} is not in the catalogue, so calls get 403.",
                (f"[models.{slug}]", "# in the catalogue, or let discover_models --watch find it"),
            )
        elif not stack.catalogue[slug].is_enabled:
            yield Finding(
                Mistake.ROUTE_WITHOUT_MODEL,
                f"router {name}",
                f"{slug} is disabled in the catalogue, so calls get 403.",
                (f"[models.{slug}]", "enabled = true"),
            )


def _is_pinned_well(stack: Stack, router: Router) -> bool:
    path = stack.paths.get(stack.pinned(router), "")
    return bool(path) and bool(stack.samples(router, path))


def check_version(stack: Stack) -> Iterator[Finding]:
    text = stack.configuration.version
    oldest = ".".join(map(str, OLDEST))
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        yield Finding(
            Mistake.UNKNOWN_TRAEFIK,
            "Traefik",
            f"It reports version {text!r}; make sure that it is at least {oldest}.",
            ("image: traefik:v3.7",),
        )
    elif tuple(int(number or 0) for number in found.groups()) < OLDEST:
        yield Finding(
            Mistake.OLD_TRAEFIK,
            "Traefik",
            f"{text} has known vulnerabilities that are fixed in {oldest}.",
            ("image: traefik:v3.7",),
        )
