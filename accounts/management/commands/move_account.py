"""manage.py move_account: put an account on another plan."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.management.commands.issue_key import find_plan
from accounts.models import Account
from accounts.services import Actor, move_account
from authsvc.commands import OperatorCommand, pending


class Command(OperatorCommand):
    help = "Put an account on another plan: when this says done, its next request is judged by it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True, metavar="NAME")
        parser.add_argument("--plan", required=True, metavar="PLAN")

    def handle(self, *args: Any, **options: Any) -> None:
        account = Account.objects.select_related("plan").filter(name=options["account"]).first()
        if account is None:
            raise CommandError(f"There is no account {options['account']!r}.")
        plan = find_plan(options["plan"])
        if move_account(account, plan, actor=Actor.command("move_account")).is_pending:
            raise pending()
        self.stdout.write(f"done: {account.name} is on {plan.name}")
