"""manage.py apply_catalogue FILE.toml: apply models and plans from a file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from quotas.catalogue.applying import apply
from quotas.catalogue.file import BadCatalogue, CatalogueFile, read_catalogue_file
from runtime.commands import OperatorCommand, pending


class _DryRun(Exception):
    pass


class Command(OperatorCommand):
    help = "Make models and plans match a catalogue file. Idempotent. Prints what changed; warnings go to stderr."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.toml")
        parser.add_argument("--dry-run", action="store_true", help="print what would change without changing anything")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            file = _read(options["file"])
            for line in file.warnings():
                self.stderr.write(f"Warning: {line}", self.style.WARNING if self.stderr.isatty() else str)
            if options["dry_run"]:
                self._show(_would_change(file), "would change")
                return
            lines, publication = change_catalogue(lambda: apply(file), actor=Actor.command("apply_catalogue"))
        except BadCatalogue as error:
            raise CommandError(f"Nothing was changed:\n{error}") from error
        self._show(lines, "changed")
        if publication.is_pending:
            raise pending()

    def _show(self, lines: list[str], what: str) -> None:
        for line in lines:
            self.stdout.write(line)
        self.stdout.write(f"{len(lines)} {what}." if lines else "Nothing to change.")


def _read(path: Path) -> CatalogueFile:
    try:
        return read_catalogue_file(path)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error


def _would_change(file: CatalogueFile) -> list[str]:
    lines: list[str] = []
    try:
        with transaction.atomic():
            lines.extend(apply(file))
            raise _DryRun
    except _DryRun:
        return lines
