"""The base of our commands: errors in one sentence, and an exit status of its own for pending changes."""

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
    """A command's output. Control characters in names are escaped, so no terminal obeys them."""

    def write(  # type: ignore[override]  # as Django's own class does
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        super().write(escaped(msg), style_func, ending)


class OperatorCommand(BaseCommand):
    """A command that reports errors an operator can fix in one sentence."""

    def __init__(self, stdout: Any = None, stderr: Any = None, **kwargs: Any) -> None:
        super().__init__(stdout, stderr, **kwargs)
        style = self.stderr.style_func
        self.stdout, self.stderr = Terminal(stdout or sys.stdout), Terminal(stderr or sys.stderr)
        self.stderr.style_func = style

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Without colours: Django puts them into the text before it is written, so they would be escaped."""
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
    """The change is committed, but the gate does not know it yet."""
    return CommandError(
        f"Pending: {what}, but Redis or the database cannot be reached now. keep_ledger will publish it.",
        returncode=PENDING,
    )
