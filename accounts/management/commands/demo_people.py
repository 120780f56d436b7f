"""manage.py demo_people: an account with an owner, a viewer, keys and a week of invented usage, for a demo."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction

from accounts.models import Account, Membership, User
from accounts.reference import resolve
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.keys import issue_key
from accounts.services.members import put_member
from quotas.models import Plan
from runtime.commands import OperatorCommand

ACTOR = Actor.command("demo_people")
ACCOUNT, NAME, PLAN = "demo-team", "Example Research", "pro"
PEOPLE = (("ada", Membership.Role.OWNER), ("vic", Membership.Role.VIEWER))
KEYS = ("web app", "nightly job", "notebook")


class Command(OperatorCommand):
    help = "FOR DEMOS ONLY: make an account with people, keys and a week of usage; print `NAME ROLE PASSWORD` lines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--this-is-a-demo",
            action="store_true",
            help="confirm that invented people and usage may be written into this database",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["this_is_a_demo"]:
            raise CommandError("This invents people and usage. Confirm with --this-is-a-demo.")
        taken = User.objects.filter(username__in=[name for name, _ in PEOPLE]).values_list("username", flat=True)
        if taken:
            raise CommandError(f"There is already somebody called {' and '.join(sorted(taken))}.")
        if resolve(ACCOUNT) is not None:
            raise CommandError(f"There is already an account {ACCOUNT}.")
        plan = Plan.objects.filter(name=PLAN).first()
        if plan is None:
            raise CommandError(f"The catalogue has no plan {PLAN}, which the demo's account is on.")
        with transaction.atomic():
            account = _account_with_keys(plan)
            passwords = {name: _join(account, name, role) for name, role in PEOPLE}
            # Before the commit, which publishes: the gate's counters start from the usage that there is then.
            call_command("demo_usage", account=account.public_id, this_is_a_demo=True, stdout=self.stderr)
        for name, role in PEOPLE:
            self.stdout.write(f"{name} {role} {passwords[name]}")


def _account_with_keys(plan: Plan) -> Account:
    account, _ = create_account(NAME, plan, external_id=ACCOUNT, actor=ACTOR)
    for name in KEYS:
        issue_key(account, name=name, actor=ACTOR)
    return account


def _join(account: Account, name: str, role: str) -> str:
    """Make the person a member; the password, which is made for this demo and stored nowhere."""
    password = secrets.token_urlsafe(12)
    user = User.objects.create_user(name, f"{name}@example.org", password)
    put_member(account, user, role, actor=ACTOR)
    return password
