"""manage.py move_account: put an account on a different plan."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.management.commands.issue_key import find_plan
from accounts.reference import must_resolve
from accounts.refused import Refused
from accounts.services.accounts import move_account
from accounts.services.acts import Actor
from runtime.commands import OperatorCommand, pending


class Command(OperatorCommand):
    help = 'Put an account on a different plan. When this prints "done", the plan applies to its next request.'

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True, metavar="ID", help="its id or external id")
        parser.add_argument("--plan", required=True, metavar="PLAN")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            account = must_resolve(options["account"].strip())
        except Refused as error:
            raise CommandError(str(error)) from error
        plan = find_plan(options["plan"])
        if move_account(account, plan, actor=Actor.command("move_account")).is_pending:
            raise pending()
        self.stdout.write(f"done: {account} is on {plan.name}")
