"""manage.py revoke_key ID: revoke a key permanently."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.models import ApiKey
from accounts.services.acts import Actor
from accounts.services.keys import revoke_key
from runtime.commands import OperatorCommand, pending


class Command(OperatorCommand):
    help = 'Revoke a key. When this prints "done", its next request is refused.'

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the 16 characters after the prefix")

    def handle(self, *args: Any, **options: Any) -> None:
        key = ApiKey.objects.select_related("account__plan").filter(public_id=options["id"]).first()
        if key is None:
            raise CommandError(f"There is no key {options['id'][:16]}. Pass the 16 characters after the prefix.")
        if revoke_key(key, actor=Actor.command("revoke_key")).is_pending:
            raise pending()
        self.stdout.write(f"done: {key.public_id} is revoked")
