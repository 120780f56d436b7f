"""What our commands have in common: errors in one sentence, and an exit status of its own for pending changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.core.management.color import no_style
from django.db import Error as DatabaseError

from runtime.faults import in_words
from runtime.labels import escaped

PENDING = 3


class Terminal(OutputWrapper):
    """What a command prints on. A name may hold what a terminal obeys: it is shown escaped; colours come after that."""

    def write(  # type: ignore[override]  # as Django's own does
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        super().write(escaped(msg), style_func, ending)


class OperatorCommand(BaseCommand):
    """A command that says what an operator can mend in one sentence."""

    def __init__(self, stdout: Any = None, stderr: Any = None, **kwargs: Any) -> None:
        super().__init__(stdout, stderr, **kwargs)
        style = self.stderr.style_func
        self.stdout, self.stderr = Terminal(stdout or sys.stdout), Terminal(stderr or sys.stderr)
        self.stderr.style_func = style

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Without colours, which Django weaves into the text before it is written: they would be shown escaped."""
        style, self.style = self.style, no_style()
        try:
            super().check(*args, **kwargs)
        finally:
            self.style = style

    def execute(self, *args: Any, **options: Any) -> str | None:
        if stdout := options.pop("stdout", None):
            self.stdout = Terminal(stdout)
        if stderr := options.pop("stderr", None):
            self.stderr = Terminal(stderr)
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
