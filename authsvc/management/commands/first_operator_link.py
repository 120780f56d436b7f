"""manage.py first_operator_link: print a link that makes the first operator, and nothing else, on stdout."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from console.first_operator import new_link
from runtime.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Print a link that makes the first operator. It works for 1 hour, and only while there is no operator."

    def handle(self, *args: Any, **options: Any) -> None:
        link = new_link()
        if link is None:
            raise CommandError(
                f"There already is an operator: sign in at {settings.CONSOLE_URL}/admin/. "
                f"To add another: {settings.MANAGE} createsuperuser."
            )
        self.stdout.write(link)
