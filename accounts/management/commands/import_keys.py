"""manage.py import_keys FILE: import keys from another system from a CSV file."""

from __future__ import annotations

import csv
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import CommandError

from accounts.imports.reading import (
    ALREADY_THERE,
    BATCH,
    IMPORTED,
    LONGEST_LINE,
    REFUSED,
    SWITCHED_OFF,
    Line,
    LineOutcome,
    Unreadable,
    import_lines,
    read_lines,
)
from accounts.services.acts import Actor
from runtime.commands import OperatorCommand, pending

ACTOR = Actor.command("import_keys")
TOLD_EVERY = 10_000


class Command(OperatorCommand):
    help = "Import keys from another system. Running it again imports only the keys that are missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            help="CSV; the first line names the columns: account or external_id, name, key or "
            "sha256, and if you like start, expires_at, models (with spaces between them); - reads stdin",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be imported without changing anything"
        )
        parser.add_argument(
            "--report", metavar="FILE", help="write the refused lines with the reasons to this file, as CSV"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.IMPORTED_KEYS:
            self.stderr.write(SWITCHED_OFF)
        try:
            with ExitStack() as open_files:
                lines: IO[str] = sys.stdin
                if options["file"] != "-":
                    lines = open_files.enter_context(Path(options["file"]).open(encoding="utf-8", newline=""))
                report = open_files.enter_context(_report(options["report"])) if options["report"] else None
                is_pending = self._import(_bounded(lines), report, dry_run=options["dry_run"])
        except Unreadable as error:
            raise CommandError(str(error)) from error
        except UnicodeDecodeError as error:
            raise CommandError("The file is not UTF-8.") from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error
        if is_pending:
            raise pending("the keys are saved")

    def _import(self, lines: Iterator[str], report: Any, *, dry_run: bool) -> bool:
        count: Counter[str] = Counter()
        promised: Counter[str] = Counter()
        told = 0
        is_pending = False
        read = read_lines(lines)
        while batch := list(islice(read, BATCH)):
            wanted = [line for line in batch if isinstance(line, Line)]
            outcomes, publication = import_lines(wanted, actor=ACTOR, dry_run=dry_run, promised=promised)
            is_pending |= publication.is_pending
            for outcome in sorted([*outcomes, *(line for line in batch if isinstance(line, LineOutcome))]):
                count[outcome.word] += 1
                if report is not None and outcome.word == REFUSED:
                    report.writerow(outcome)
            if count.total() - told >= TOLD_EVERY:
                told = count.total()
                self.stderr.write(_in_words(count, dry_run))
        self.stdout.write(_in_words(count, dry_run))
        return is_pending


def _in_words(count: Counter[str], dry_run: bool) -> str:
    would = "would be imported" if dry_run else "imported"
    return (
        f"{count.total()} lines: {count[IMPORTED]} {would}, {count[ALREADY_THERE]} already imported, "
        f"{count[REFUSED]} refused"
    )


def _bounded(lines: IO[str]) -> Iterator[str]:
    """One line at a time; a line that is too long is cut at a length that is still refused."""
    while line := lines.readline(LONGEST_LINE + 2):
        yield line
        while not line.endswith("\n") and (line := lines.readline(LONGEST_LINE + 2)):
            pass


@contextmanager
def _report(name: str) -> Iterator[Any]:
    """A CSV writer for refused lines, after the header."""
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(LineOutcome._fields)
        yield writer
