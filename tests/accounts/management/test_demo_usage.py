"""manage.py demo_usage: believable, repeatable, and never beside real usage."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import Sum
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.services.keys import issue_key, revoke_key
from quotas.models import RefusalHour, ServedModel, UsageDay, UsageHour
from quotas.usage.reading import UsageSelection
from quotas.usage.refusals import read_refusals
from tests.accounts.management.test_commands import refused, run
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db


def invented(account, *more: str) -> str:
    return run("demo_usage", "--account", account.public_id, "--this-is-a-demo", *more)


def this_hour():
    return timezone.now().replace(minute=0, second=0, microsecond=0)


def test_a_week_has_a_rhythm_and_refusals(account, issued):
    issue_key(account, name="second", actor=ACTOR)
    assert "calls of the last 7 days" in invented(account)
    hours = UsageHour.objects.all()
    assert hours.values("key").distinct().count() == 2 and hours.values("model").distinct().count() >= 1
    by_day, by_night = (hours.filter(hour__hour=hour).aggregate(sum=Sum("allowed"))["sum"] or 0 for hour in (14, 2))
    assert by_day > 10 * by_night
    week = UsageSelection(start=this_hour() - timedelta(days=7), end=this_hour(), accounts=(account.public_id,))
    rows = read_refusals(week, most=50)
    assert {"over_limit", "model_not_allowed"} <= {row.reason for row in rows}
    of_plan = {limit.value().identity for limit in account.plan.limits.all()}
    assert {tuple(row.limit) for row in rows if row.limit} <= of_plan
    assert sum(row.calls for row in rows) == hours.aggregate(sum=Sum("refused"))["sum"]
    assert UsageDay.objects.aggregate(sum=Sum("allowed"))["sum"] == hours.aggregate(sum=Sum("allowed"))["sum"]


def test_units_are_what_the_models_cost(account, issued):
    models_base(ServedModel).update(cost=3)
    invented(account)
    sums = UsageHour.objects.aggregate(calls=Sum("allowed"), units=Sum("units"))
    assert sums["units"] == 3 * sums["calls"] > 0


def test_it_leaves_this_hour_to_the_gate(account, issued):
    invented(account, "--days", "2")
    moments = UsageHour.objects.order_by("hour").values_list("hour", flat=True)
    assert this_hour() - timedelta(days=2) <= moments[0] and max(moments) < this_hour()


def test_inventing_twice_adds_nothing(account, issued):
    invented(account)
    before = UsageHour.objects.aggregate(sum=Sum("allowed"))["sum"], RefusalHour.objects.count()
    invented(account)
    assert (UsageHour.objects.aggregate(sum=Sum("allowed"))["sum"], RefusalHour.objects.count()) == before


def test_real_usage_is_never_mixed_with_invented(account, issued):
    row = {"account": account.public_id, "key": issued.key.public_id, "model": "sm", "birth": 1_767_225_600_000_001}
    UsageHour.objects.create(**row, hour=this_hour() - timedelta(days=3), allowed=5, units=5)
    assert "has real usage" in str(refused("demo_usage", "--account", account.public_id, "--this-is-a-demo"))
    assert UsageHour.objects.count() == 1
    assert "Invented" in invented(account, "--days", "2")


def test_it_does_nothing_without_a_confirmation_an_account_or_a_key(account, issued):
    assert "--this-is-a-demo" in str(refused("demo_usage", "--account", account.public_id))
    assert "No account" in str(refused("demo_usage", "--account", "nobody", "--this-is-a-demo"))
    assert "from 1 to 365" in str(
        refused("demo_usage", "--account", account.public_id, "--this-is-a-demo", "--days", "0")
    )
    revoke_key(issued.key, actor=ACTOR)
    assert "needs a key" in str(refused("demo_usage", "--account", account.public_id, "--this-is-a-demo"))
    assert not UsageHour.objects.exists()
