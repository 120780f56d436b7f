"""What our commands have in common: errors in one sentence, and an exit status of its own for pending changes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from authsvc.faults import in_words

PENDING = 3


class OperatorCommand(BaseCommand):
    """A command that says what an operator can mend in one sentence."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            sentence = in_words(error)
            if sentence is None:
                raise
            raise CommandError(sentence) from error


def pending(what: str = "saved") -> CommandError:
    """The change is committed, and the gate does not know it yet."""
    return CommandError(
        f"Pending: {what}, but Redis or the database cannot be reached now; keep_ledger publishes it.",
        returncode=PENDING,
    )
