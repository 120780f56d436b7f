"""`CatalogueFacts`: models, plans and their limits as the gate knows them, one value for all keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quotas.limits import EVERY_MODEL, Limit


@dataclass(frozen=True, slots=True)
class ModelFacts:
    slug: str
    path: str
    cost: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class PlanFacts:
    name: str
    models: frozenset[str]  # or {"*"}
    limits: tuple[Limit, ...]

    def includes(self, model: str) -> bool:
        return EVERY_MODEL in self.models or model in self.models


@dataclass(frozen=True, slots=True)
class CatalogueFacts:
    """`foreign_checks`: there are keys whose check was made with a pepper that may be gone (see KeyReader.read)."""

    version: int
    models: Mapping[str, ModelFacts]
    plans: Mapping[str, PlanFacts]
    foreign_checks: bool
    _by_first_segment: Mapping[str, tuple[ModelFacts, ...]]

    def model_at(self, path: str) -> ModelFacts | None:
        """The enabled model whose prefix is the path, or is followed by a slash in it."""
        end = path.find("/", 1)
        for model in self._by_first_segment.get(path if end < 0 else path[:end], ()):
            if path.startswith(model.path) and path[len(model.path) :][:1] in ("", "/"):
                return model if model.enabled else None
        return None


def limit_to_json(limit: Limit) -> dict[str, Any]:
    return asdict(limit)


def limit_from_json(value: Mapping[str, Any]) -> Limit:
    return Limit(**value)


def catalogue_from_json(text: str | bytes) -> CatalogueFacts:
    """Parse the JSON of `snapshot.read_catalogue`."""
    value = json.loads(text)
    models = {slug: ModelFacts(slug, m["path"], m["cost"], m["enabled"]) for slug, m in value["models"].items()}
    by_first: dict[str, tuple[ModelFacts, ...]] = {}
    for model in models.values():
        first = "/" + model.path.split("/")[1]
        by_first[first] = (*by_first.get(first, ()), model)
    plans = {
        name: PlanFacts(name, frozenset(p["models"]), tuple(map(limit_from_json, p["limits"])))
        for name, p in value["plans"].items()
    }
    return CatalogueFacts(value["version"], models, plans, value["foreign_checks"], by_first)
