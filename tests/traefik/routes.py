"""Routers and middlewares for a real Traefik, as `model_labels --for file` prints them."""

from __future__ import annotations

from io import StringIO
from typing import Any

import yaml
from django.core.management import call_command


def printed(name: str, *options: str, form: str = "file") -> Any:
    """The output of `model_labels`, parsed as YAML."""
    out = StringIO()
    call_command(
        "model_labels", name, "--for", form, "--path", f"/{name}", *options, stdout=out
    )  # the last path counts
    return yaml.safe_load(out.getvalue())


def route(name: str, *options: str) -> dict[str, Any]:
    """A model's part of the dynamic configuration."""
    http: dict[str, Any] = printed(name, *options)["http"]
    return http


def together(*parts: dict[str, Any]) -> dict[str, Any]:
    """Several parts in one file."""
    whole: dict[str, Any] = {}
    for part in parts:
        for kind, named in part.items():
            whole.setdefault(kind, {}).update(named)
    return whole
