"""manage.py demo_people: people with passwords of their own, keys and usage; only once, and only on purpose."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth import authenticate
from django.core.management.base import CommandError
from django.db.models import Sum

from accounts.models import Account, User
from console.limits import meters_of_account
from quotas.models import Plan, UsageHour
from tests.accounts.management.test_commands import run
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def test_people_can_sign_in_to_an_account_that_was_used(catalogue):
    lines = [line.split() for line in run("demo_people", "--this-is-a-demo").splitlines()]
    assert [line[:2] for line in lines] == [["ada", "owner"], ["vic", "viewer"]]
    account = Account.objects.get(external_id="demo-team")
    for name, role, password in lines:
        user = authenticate(username=name, password=password)
        assert user is not None and account.memberships.get(user=user).role == role
    assert account.keys.count() == 3
    assert UsageHour.objects.filter(account=account.public_id).exists()


def test_nothing_is_made_twice_or_by_mistake(catalogue):
    with pytest.raises(CommandError, match="--this-is-a-demo"):
        run("demo_people")
    assert not User.objects.exists()
    run("demo_people", "--this-is-a-demo")
    with pytest.raises(CommandError, match="already somebody called ada and vic"):
        run("demo_people", "--this-is-a-demo")
    assert Account.objects.count() == 1


def test_a_catalogue_without_the_demos_plan_is_named(catalogue):
    Plan.objects.get(name="pro").delete()
    with pytest.raises(CommandError, match="no plan pro"):
        run("demo_people", "--this-is-a-demo")
    assert not User.objects.exists()


def test_what_was_invented_is_taken_from_the_quota(catalogue, redis_db):
    catalogue((ROOT / "deploy" / "catalogue.toml").read_text())
    run("demo_people", "--this-is-a-demo")
    account = Account.objects.get(external_id="demo-team")
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    of_month = UsageHour.objects.filter(account=account.public_id, hour__gte=month)
    units = of_month.aggregate(sum=Sum("units"))["sum"] or 0
    limits = meters_of_account(account)
    quota = next(meter for meter in limits.meters if meter.limit.window == "month")
    assert limits.is_known and quota.taken == min(units, quota.limit.amount)
