"""manage.py reset_second_factor NAME: for somebody who has lost their app or passkey, and the recovery codes too."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core.management.base import CommandError
from django.db import transaction

from accounts.services.acts import Actor, record_act
from console.signing.backend import user_called
from runtime.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Remove somebody's second factors and end their sessions. They sign in with the password alone, once more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the user name, or a confirmed email address")

    def handle(self, *args: Any, **options: Any) -> None:
        user = user_called(options["name"])
        if user is None:
            raise CommandError(f"There is no user {options['name'][:150]}.")
        with transaction.atomic():
            factors = Authenticator.objects.filter(user=user)
            kinds = sorted(factors.values_list("type", flat=True))
            factors.delete()
            for session in UserSession.objects.filter(user=user):
                session.end()
            actor = Actor.command("reset_second_factor")
            record_act(actor, "user.second_factor_reset", user.get_username(), before={"kinds": kinds})
        self.stdout.write(f"done: {user.get_username()} had {', '.join(kinds) or 'no second factor'}")
