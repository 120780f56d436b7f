"""What the gate is told of an account and a key, as the database has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.facts import snapshot
from accounts.models import Account, ApiKey
from accounts.services.keys import issue_key
from quotas.limits import calendar_window, hour_of
from quotas.models import UsageHour
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

QUOTAS = """
    default_plan = "free"
    [models.sm]
    [models.lg]
    cost = 5
    [plans.free]
    models = ["*"]
    limits = [
      { name = "month", per = "account", amount = 1000, window = "month", unit = "units" },
      { name = "day", per = "account", amount = 1000, window = "day" },
      { name = "key-month", per = "key", amount = 1000, window = "month", unit = "units" },
      { name = "key-day-lg", per = "key", amount = 1000, window = "day", model = "lg" },
    ]
"""
HOUR = timedelta(hours=1)


@pytest.fixture
def quotas(catalogue, issued):
    catalogue(QUOTAS)
    return issued.key


def use(key: str, at: datetime, allowed: int, model: str = "sm") -> None:
    UsageHour.objects.create(
        account=key[:8], key=key, model=model, hour=at, birth=1, allowed=allowed, units=allowed * 2
    )


def start_of(window: str) -> datetime:
    return datetime.fromtimestamp(calendar_window(window, hour_of(datetime.now(UTC))).start, UTC)


def counters(key: str) -> dict[str, int]:
    catalogue = snapshot.read_catalogue()
    account = snapshot.read_account(Account.objects.get(), catalogue)
    its = snapshot.read_key(ApiKey.objects.get(public_id=key), account, catalogue)
    return {counter.limit.name: counter.taken for counter in (*account.counters, *its.counters)}


@pytest.mark.parametrize("window", ["day", "month"])
def test_usage_of_the_window_s_first_hour_is_in_the_counter_and_of_the_hour_before_is_not(quotas, window):
    key = quotas.public_id
    use(key, start_of(window), 4)
    use(key, start_of(window) - HOUR, 100)
    found = counters(key)
    if window == "day":
        assert found["day"] == 4
    else:
        assert (found["month"], found["key-month"]) == (8, 8)


def test_a_counter_has_what_is_counted_in_it_alone(quotas):
    """Its subject, its model, its unit."""
    key = quotas.public_id
    other = issue_key(Account.objects.get(), name="other", actor=ACTOR).key.public_id
    today = start_of("day")
    use(key, today, 1)
    use(key, today, 10, model="lg")
    use(other, today, 100)
    assert counters(key) == {"month": 222, "day": 111, "key-month": 22, "key-day-lg": 10}
    assert counters(other) == {"month": 222, "day": 111, "key-month": 200, "key-day-lg": 0}
