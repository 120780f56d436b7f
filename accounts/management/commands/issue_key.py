"""manage.py issue_key: issue a key for an account and print only the key on stdout."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from accounts.models import EXTERNAL_ID, EXTERNAL_ID_WORDS, Account
from accounts.reference import in_words, namesakes, resolve, unknown
from accounts.refused import Refused
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.keys import issue_key
from quotas.models import Catalogue, Plan
from runtime.commands import OperatorCommand, pending
from runtime.env import duration

ACTOR = Actor.command("issue_key")


class Command(OperatorCommand):
    help = "Issue a key and print only the key on stdout. It is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--account",
            required=True,
            metavar="ID",
            help="its id or external id; if there is none, an account with this external id and name is created",
        )
        parser.add_argument(
            "--plan", metavar="PLAN", help="default: the account's plan, or default_plan for a new account"
        )
        parser.add_argument("--name", required=True, metavar="TEXT", help="what the key is for")
        parser.add_argument("--model", action="append", metavar="M", help="allow only this model; repeatable")
        parser.add_argument("--expires-in", metavar="30d", help="with unit s, m, h or d; default: never")
        parser.add_argument("--allow-ip", action="append", default=[], metavar="CIDR", help="repeatable")
        parser.add_argument("--allow-method", action="append", default=[], metavar="METHOD", help="repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            lifetime: timedelta | None = duration(options["expires_in"]) if options["expires_in"] else None
        except ValueError as error:
            raise CommandError(str(error)) from error
        try:
            with transaction.atomic():  # no account is created if the key is refused
                issued = issue_key(
                    self._account(options["account"].strip(), options["plan"]),
                    name=options["name"],
                    actor=ACTOR,
                    models=options["model"],
                    networks=options["allow_ip"],
                    methods=options["allow_method"],
                    expires_at=timezone.now() + lifetime if lifetime else None,
                )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except Refused as error:
            raise CommandError(str(error)) from error
        self.stdout.write(issued.text)
        if issued.publication.is_pending:
            raise pending("the key is saved")

    def _account(self, reference: str, plan_name: str | None) -> Account:
        account = resolve(reference)
        if account is None:
            return self._new_account(reference, plan_name)
        if plan_name is not None and account.plan.name != plan_name:
            raise CommandError(
                f"The account {account} is on the plan {account.plan.name}. To move it: "
                f"manage.py move_account --account {shlex.quote(reference)} --plan {shlex.quote(plan_name)}"
            )
        return account

    def _new_account(self, external_id: str, plan_name: str | None) -> Account:
        """With --plan a new account is intended. Without it, a name that others have is more likely a mistake."""
        others = namesakes(external_id)
        if others and plan_name is None:
            raise Refused(f"{unknown(external_id)} To create a new account with this external id, add --plan.")
        if not re.match(EXTERNAL_ID, external_id):
            raise Refused(
                f"{unknown(external_id)} It can't be the external id of a new account either: {EXTERNAL_ID_WORDS}"
            )
        account, _ = create_account(external_id, _plan(plan_name), external_id=external_id, actor=ACTOR)
        if others:
            self.stderr.write(f"Created {account}. Other accounts with this name: {in_words(others)}.")
        return account


def _plan(name: str | None) -> Plan:
    if name is None:
        catalogue = Catalogue.objects.select_related("default_plan").filter(pk=1).first()
        if catalogue is None or catalogue.default_plan is None:
            raise CommandError("Specify --plan: the catalogue has no default_plan.")
        return catalogue.default_plan
    return find_plan(name)


def find_plan(name: str) -> Plan:
    """The plan with this name. Raises CommandError with the names of all plans."""
    plan = Plan.objects.filter(name=name).first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("name", flat=True)) or "none; run manage.py apply_catalogue first"
        raise CommandError(f"There is no plan {name!r}. Available plans: {known}.")
    return plan
