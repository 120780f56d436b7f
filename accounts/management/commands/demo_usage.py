"""manage.py demo_usage: invent usage for an account of a demo, so that its charts are not empty."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import ApiKey
from accounts.plan_models import models_of
from accounts.reference import must_resolve
from accounts.refused import Refused
from quotas.models import ServedModel
from quotas.usage.invented import invent, real_usage
from runtime.commands import OperatorCommand

MOST_DAYS, MOST_KEYS, MOST_MODELS = 365, 10, 4


class Command(OperatorCommand):
    help = (
        "FOR DEMOS ONLY: invent usage of an account's keys. It is in every report and invoice, and cannot be removed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True, metavar="ID", help="its id or external id")
        parser.add_argument("--days", type=int, default=7, metavar="N", help="how many days back (default: 7)")
        parser.add_argument(
            "--this-is-a-demo",
            action="store_true",
            help="confirm that invented usage may be written into this database",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if not options["this_is_a_demo"]:
            raise CommandError("This invents usage. Confirm with --this-is-a-demo that nobody is invoiced for it.")
        if not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days must be from 1 to {MOST_DAYS}.")
        try:
            account = must_resolve(options["account"].strip())
        except Refused as error:
            raise CommandError(str(error)) from error
        end = timezone.now().replace(minute=0, second=0, microsecond=0)
        start = end - timedelta(days=days)
        if real_usage(account.public_id, start, end).exists():
            raise CommandError(
                f"The account {account} has real usage in this time, which would be mixed with invented."
            )
        keys = ApiKey.objects.active().filter(account=account).order_by("pk").values_list("public_id", flat=True)
        models = ServedModel.objects.filter(slug__in=models_of(account.plan)).order_by("slug")[:MOST_MODELS]
        costs = dict(models.values_list("slug", "cost"))
        if not keys or not costs:
            raise CommandError(f"The account {account} needs a key that works and a model in its plan.")
        limits = (row.value() for row in account.plan.limits.select_related("model"))
        limit = next((limit for limit in limits if limit.is_smoothed), None)
        calls = invent(list(keys[:MOST_KEYS]), costs, start, end, limit=limit)
        self.stdout.write(f"Invented {calls:,} calls of the last {days} days for {account}.")
