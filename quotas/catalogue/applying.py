"""Applies the catalogue file to the database. Each function yields a line for every change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from django.utils import timezone

from quotas import rules
from quotas.catalogue.file import BadCatalogue, CatalogueFile, ModelEntry, PlanEntry, in_a_row
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import Catalogue, Plan, PlanLimit, ServedModel


def apply(file: CatalogueFile) -> Iterator[str]:
    """Make the database match the file and yield each change. Runs in the caller's transaction.

    Models and plans that are not in the file stay, because accounts may use them. Raises BadCatalogue if the file
    contradicts them. To disable a model, set enabled = false.
    """
    rows = {row.slug: row for row in ServedModel.objects.all()}
    if faults := list(_contradictions(file, rows)):
        raise BadCatalogue(faults)
    _free_paths(file, rows)
    for model in file.models.values():
        yield from _apply_model(model, rows.get(model.slug))
    for plan in file.plans.values():
        yield from apply_plan(plan)
    if file.default_plan is not None:
        yield from apply_default_plan(file.default_plan)


def _contradictions(file: CatalogueFile, rows: Mapping[str, ServedModel]) -> Iterator[str]:
    """Conflicts between the file and models and plans that are only in the database."""
    yield from _paths_taken(file, {slug: row.path for slug, row in rows.items() if slug not in file.models})
    costs = {slug: row.cost for slug, row in rows.items()} | {m.slug: m.cost for m in file.models.values()}
    for plan in file.plans.values():
        if EVERY_MODEL in plan.models:
            others = {slug: cost for slug, cost in costs.items() if slug not in file.models}
            for limit, text in rules.costs_that_never_fit(plan.limits, others):
                yield file.source.fault(f"plans.{plan.name}", f"{text} (the model is not in this file)", limit.name)
    for row in Plan.objects.exclude(name__in=file.plans).prefetch_related("served_models", "limits__model"):
        found = [limit.value() for limit in row.limits.all()]
        its = set(file.models) if row.all_models else {m.slug for m in row.served_models.all()} & set(file.models)
        for slug in sorted(its):
            for _, text in rules.costs_that_never_fit(found, {slug: costs[slug]}):
                yield file.source.fault(
                    f"models.{slug}", f"{text}; the plan is {row.name}, which is not in this file", "cost"
                )


def _paths_taken(file: CatalogueFile, taken: Mapping[str, str]) -> Iterator[str]:
    for entry in file.models.values():
        for slug, path in taken.items():
            if f"{entry.path}/".startswith(f"{path}/") or f"{path}/".startswith(f"{entry.path}/"):
                yield file.source.fault(
                    f"models.{entry.slug}",
                    f"the path {entry.path} collides with {path}, the path of model {slug}, which is not in this file; "
                    f"no path may be a prefix of another: write a different path, or add [models.{slug}] with one",
                    "path",
                )


def _free_paths(file: CatalogueFile, rows: Mapping[str, ServedModel]) -> None:
    """Move models whose path changes out of the way, so that two may swap paths. Rows already read keep theirs."""
    for entry in file.models.values():
        row = rows.get(entry.slug)
        if row is not None and row.path != entry.path:
            ServedModel._base_manager.filter(pk=row.pk).update(path=f"//{entry.slug}")


def apply_default_plan(name: str | None) -> Iterator[str]:
    """Set the plan of new accounts."""
    catalogue, _ = Catalogue.objects.get_or_create(pk=1)
    default = Plan.objects.get(name=name) if name else None
    if catalogue.default_plan != default:
        catalogue.default_plan = default
        catalogue.save(update_fields=["default_plan"])
        yield f"default plan: {name or 'none'}"


def apply_model(entry: ModelEntry) -> Iterator[str]:
    """Make the model's row match the entry."""
    yield from _apply_model(entry, ServedModel.objects.filter(slug=entry.slug).first())


def _apply_model(entry: ModelEntry, row: ServedModel | None) -> Iterator[str]:
    wanted = {
        "path": entry.path,
        "title": entry.title,
        "cost": entry.cost,
        "enabled": entry.enabled,
        "auto_include": entry.auto_include,
        "speaks": entry.speaks,
        "example": entry.example,
    }
    if row is None:
        ServedModel.objects.create(slug=entry.slug, **wanted)
        yield f"model {entry.slug}: new"
        return
    changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if changed:
        told = (f"{name} {getattr(row, name)!r} → {value!r}" for name, value in changed.items() if name != "example")
        yield f"model {entry.slug}: " + ", ".join([*told, *(["a different example"] if "example" in changed else [])])
        for name, value in changed.items():
            setattr(row, name, value)
        row.save(update_fields=list(changed))


def register(slug: str, path: str) -> Iterator[str]:
    """Add a model found in Traefik. It is not part of "*" until it is included by name (docs/decisions/0010)."""
    paths = dict(ServedModel.objects.values_list("slug", "path"))
    if slug in paths:
        return
    if told := [text for _, _, text in rules.conflicting_paths({**paths, slug: path})]:
        raise BadCatalogue(told)
    ServedModel.objects.create(slug=slug, path=path, auto_include=False, discovered_at=timezone.now())
    yield f"model {slug}: new, found at {path}"


def include_in_every(slugs: Iterable[str]) -> Iterator[str]:
    """Include these models in plans of every model."""
    for row in ServedModel.objects.filter(slug__in=list(slugs), auto_include=False):
        row.auto_include = True
        row.save(update_fields=["auto_include"])
        yield f"model {row.slug}: auto_include False → True"


def include_in_plan(slug: str, name: str) -> Iterator[str]:
    """Add a model to a plan that names its models."""
    model, plan = ServedModel.objects.get(slug=slug), Plan.objects.get(name=name)
    limits = [limit.value() for limit in plan.limits.select_related("model")]
    if told := [text for _, text in rules.costs_that_never_fit(limits, {slug: model.cost})]:
        raise BadCatalogue(told)
    if not plan.served_models.filter(pk=model.pk).exists():
        plan.served_models.add(model)
        yield f"plan {name}: model {slug} added"


def apply_plan(entry: PlanEntry) -> Iterator[str]:
    """Make the plan's row and its limits match the entry."""
    row, is_new = Plan.objects.get_or_create(name=entry.name, defaults={"title": entry.title})
    if is_new:
        yield f"plan {entry.name}: new"
    everything = EVERY_MODEL in entry.models
    if (row.title, row.all_models, row.auto_include) != (entry.title, everything, entry.auto_include):
        row.title, row.all_models, row.auto_include = entry.title, everything, entry.auto_include
        row.save(update_fields=["title", "all_models", "auto_include"])
        if not is_new:
            included = "named models" if not everything else "every model" + (", new ones too" * entry.auto_include)
            yield f"plan {entry.name}: {included}, title {entry.title!r}"
    if row.max_keys != entry.max_keys:
        if not is_new:
            yield f"plan {entry.name}: max_keys {row.max_keys} → {entry.max_keys}"
        row.max_keys = entry.max_keys
        row.save(update_fields=["max_keys"])
    if row.offered != entry.offered:
        if not is_new:
            yield f"plan {entry.name}: {'' if entry.offered else 'no longer '}offered to customers on other plans"
        row.offered = entry.offered
        row.save(update_fields=["offered"])
    wanted = set() if everything else set(entry.models)
    present = set(row.served_models.values_list("slug", flat=True))
    if wanted != present:
        row.served_models.set(ServedModel.objects.filter(slug__in=wanted))
        if not is_new:
            yield f"plan {entry.name}: models {in_a_row(sorted(present))} → {in_a_row(sorted(wanted))}"
    yield from _apply_limits(row, entry, is_new)


def _apply_limits(plan: Plan, entry: PlanEntry, is_new: bool) -> Iterator[str]:
    rows = {row.value().identity: row for row in plan.limits.select_related("model")}
    wanted = {limit.identity: limit for limit in entry.limits}
    for identity, row in rows.items():
        if identity not in wanted or row.name != wanted[identity].name:
            # Renamed limits are deleted too, so that two may swap names; their counters do not depend on the name.
            row.delete()
            if identity not in wanted:
                yield f"plan {plan.name}: limit {row.name} removed"
    for identity, limit in wanted.items():
        before = rows.get(identity)
        changes = "" if before is None else _changes(before.value(), limit)
        if before is not None and not changes:
            continue
        PlanLimit.objects.update_or_create(
            plan=plan,
            name=limit.name,
            defaults={
                "scope": limit.scope,
                "unit": limit.unit,
                "window": limit.window,
                "amount": limit.amount,
                "model": None if limit.model == EVERY_MODEL else ServedModel.objects.get(slug=limit.model),
                "burst": limit.burst,
                "shadow": limit.shadow,
                "counted_since": before.counted_since if before is not None else timezone.now(),
            },
        )
        if not is_new:
            yield f"plan {plan.name}: limit {limit.name} {changes or 'new'}"


def _changes(before: Limit, after: Limit) -> str:
    fields = ("name", "amount", "burst", "shadow")
    pairs = ((field, getattr(before, field), getattr(after, field)) for field in fields)
    return ", ".join(f"{field} {old} → {new}" for field, old, new in pairs if old != new)
