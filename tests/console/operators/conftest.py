"""Two accounts with usage of today and yesterday, and staff with fewer rights than olga."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, User
from accounts.services.accounts import create_account
from accounts.services.keys import issue_key
from quotas.models import Plan, RefusalHour, UsageHour
from quotas.usage.days import add_up_all, day_start, lock_usage
from tests.conftest import ACTOR

MINUTE_OF_KEY = "key:*:requests:minute"


def count_calls(key: ApiKey, model: str, *, days_ago: int = 0, why: str = "over_limit", **counts: int) -> None:
    """Usage in the first hour of a UTC day, in the ledger and in its day."""
    hour = day_start(timezone.now()) - timedelta(days=days_ago)
    allowed = counts.get("allowed", 0)
    row = UsageHour(account=key.public_id[:8], key=key.public_id, model=model, hour=hour, birth=1, **counts)
    row.units = counts.get("units", allowed)
    models_base(UsageHour).bulk_create([row])
    refused, shadow = counts.get("refused", 0), counts.get("shadow_refused", 0)
    for reason, calls in ((why, refused), ("shadow_refused", shadow)):
        if calls:
            by_limit = MINUTE_OF_KEY if reason in ("over_limit", "shadow_refused") else ""
            of = {"account": row.account, "key": row.key, "model": model, "hour": hour, "birth": 1}
            RefusalHour.objects.create(**of, reason=reason, by_limit=by_limit, calls=calls)
    with transaction.atomic():
        lock_usage()
        add_up_all(hour)


@pytest.fixture
def globex(catalogue) -> Account:
    return create_account("Globex", Plan.objects.get(name="pro"), actor=ACTOR)[0]


@pytest.fixture
def busy(account, globex) -> tuple[ApiKey, ApiKey]:
    """The keys of two accounts, of which Globex calls more."""
    one = issue_key(account, name="laptop", actor=ACTOR).key
    other = issue_key(globex, name="batch", actor=ACTOR).key
    count_calls(one, "sm", allowed=7, refused=2, shadow_refused=1)
    count_calls(one, "sm", days_ago=1, allowed=3, refused=40)
    count_calls(other, "lg", allowed=900, refused=1, units=4500)
    count_calls(other, "-", days_ago=1, refused=5, why="unknown_model")
    return one, other


@pytest.fixture
def staff(db):
    """A browser of staff with these permissions."""

    def staff(*codenames: str) -> Client:
        user = User.objects.create_user(f"vera{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return staff


@pytest.fixture
def issue_many():
    def issue_many(account: Account, count: int) -> list[ApiKey]:
        return [issue_key(account, name=f"k{number}", actor=ACTOR).key for number in range(count)]

    return issue_many
