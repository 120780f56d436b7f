"""manage.py apply_catalogue FILE.toml: models and plans from a file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.services import Actor, change_catalogue
from quotas.catalogue import BadCatalogue, CatalogueFile, apply, read_catalogue_file

PENDING = 3


class _DryRun(Exception):
    pass


class Command(BaseCommand):
    help = "Make models and plans like a catalogue file. Idempotent; prints what changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.toml")
        parser.add_argument("--dry-run", action="store_true", help="print what would change, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            file = read_catalogue_file(options["file"])
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from error
        except BadCatalogue as error:
            raise CommandError(f"Nothing was changed:\n{error}") from error
        if options["dry_run"]:
            self._show(_would_change(file), "would change")
            return
        lines, publication = change_catalogue(lambda: apply(file), actor=Actor.command("apply_catalogue"))
        self._show(lines, "changed")
        if publication.is_pending:
            raise CommandError(
                "Pending: saved, but Redis cannot be reached; keep_ledger publishes it.", returncode=PENDING
            )

    def _show(self, lines: list[str], what: str) -> None:
        for line in lines:
            self.stdout.write(line)
        self.stdout.write(f"{len(lines)} {what}." if lines else "Nothing to change.")


def _would_change(file: CatalogueFile) -> list[str]:
    lines: list[str] = []
    try:
        with transaction.atomic():
            lines.extend(apply(file))
            raise _DryRun
    except _DryRun:
        return lines
