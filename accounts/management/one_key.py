"""What the commands that change one key have in common."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.facts.publish import Publication
from accounts.models import ApiKey
from accounts.refused import Refused
from accounts.services.acts import Actor
from runtime.commands import OperatorCommand, pending


class OneKeyCommand(OperatorCommand):
    """A change of the key with this id, which is done once the gate knows of it."""

    is_now: str  # what the key is after the change

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the 16 characters after the prefix")

    def handle(self, *args: Any, **options: Any) -> None:
        key = ApiKey.objects.select_related("account__plan").filter(public_id=options["id"]).first()
        if key is None:
            raise CommandError(f"There is no key {options['id'][:16]}. Pass the 16 characters after the prefix.")
        try:
            publication = self.change(key, Actor.command(self.__module__.rpartition(".")[2]))
        except Refused as error:
            raise CommandError(str(error)) from error
        if publication.is_pending:
            raise pending()
        self.stdout.write(f"done: {key.public_id} is {self.is_now}")

    def change(self, key: ApiKey, actor: Actor) -> Publication:
        raise NotImplementedError
