"""manage.py check_stack: find mistakes in how Traefik routes to the models and the gate."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from quotas.models import ServedModel
from runtime.commands import OperatorCommand
from runtime.faults import in_words
from traefik.api import Configuration, TraefikUnreadable, read_configuration
from traefik.findings import Finding
from traefik.inspection import inspect
from traefik.options import add_access, read_access
from traefik.stack import CatalogueModel, Stack

FOUND = 1
UNCHECKED = 2


class Command(OperatorCommand):
    help = "Read Traefik's API and report mistakes in routers, middlewares and entry points. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_access(parser)
        parser.add_argument("--json", action="store_true", help="output for other programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            configuration = read_configuration(read_access(options))
            findings = inspect(Stack(configuration, _catalogue(), options["gate_url"]))
        except TraefikUnreadable as error:
            raise CommandError(str(error), returncode=UNCHECKED) from error
        except DatabaseError as error:
            sentence = in_words(error) or f"The database refused the query ({type(error).__name__})."
            raise CommandError(f"The catalogue cannot be read. {sentence}", returncode=UNCHECKED) from error
        self.stdout.write(_as_json(configuration, findings) if options["json"] else _as_text(findings))
        if findings:
            raise SystemExit(FOUND)


def _catalogue() -> dict[str, CatalogueModel]:
    return {row.slug: CatalogueModel(row.path, row.enabled) for row in ServedModel.objects.all()}


def _as_json(configuration: Configuration, findings: Sequence[Finding]) -> str:
    whole = {"traefik": configuration.version, "findings": [finding.as_json() for finding in findings]}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _as_text(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Nothing found."
    count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    return "\n\n".join([*(finding.as_text() for finding in findings), f"{count}; docs/check-stack.md explains each."])
