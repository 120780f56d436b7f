"""A limit that changes between two calls, through the services and the gate: what was used stays used."""

from __future__ import annotations

from dataclasses import replace
from time import time

import pytest

from accounts.models import Account
from accounts.services.accounts import move_account, override_limit
from accounts.services.keys import change_key
from authsvc.gate.explain import Scenario, explain, look_at_limits
from quotas.buckets import clock
from quotas.limits import Limit, calendar_window
from quotas.models import Plan
from quotas.usage.ledger import copy_usage
from store import names
from tests.conftest import ACTOR
from tests.gate.test_decision import left

pytestmark = pytest.mark.django_db(transaction=True)

# By the hour: nothing that matters drains while a test runs.
HOURLY = """
    default_plan = "free"
    [models.sm]
    [plans.free]
    models = ["sm"]
    limits = [{ name = "hour", per = "key", amount = 12, window = "hour", burst = 10 }]
    [plans.pro]
    models = ["sm"]
    limits = [{ name = "hour", per = "key", amount = 120, window = "hour" }]
"""
OWN = Limit(name="own", scope="key", amount=6, window="hour")


@pytest.fixture
def hourly(catalogue, issued):
    catalogue(HOURLY)
    return issued


def passing(ask, key: str) -> int:
    return next(count for count in range(1000) if ask(key).status != 200)


def retry_after(answer) -> int:
    return int(dict(answer.headers)[b"retry-after"])


def narrow(key, *limits: Limit) -> None:
    change_key(key, limits=limits, actor=ACTOR)


def test_a_key_that_is_narrowed_and_widened_again_gets_no_second_burst(ask, hourly):
    assert passing(ask, hourly.text) == 10
    for limits in ([OWN], [replace(OWN, amount=1)], [replace(OWN, amount=9, burst=2)], []):
        narrow(hourly.key, *limits)
        assert passing(ask, hourly.text) == 0


@pytest.mark.parametrize("asked_between", [True, False])
def test_back_on_the_plan_the_wait_is_that_of_the_plan(ask, hourly, asked_between):
    passing(ask, hourly.text)
    narrow(hourly.key, replace(OWN, amount=1))
    if asked_between:
        assert 3500 < retry_after(ask(hourly.text)) <= 3600
    narrow(hourly.key)
    assert 200 < retry_after(ask(hourly.text)) <= 300


def test_a_better_plan_gives_its_room_at_once(ask, hourly, account):
    assert passing(ask, hourly.text) == 10
    move_account(account, Plan.objects.get(name="pro"), actor=ACTOR)
    assert passing(ask, hourly.text) == 110
    move_account(account, Plan.objects.get(name="free"), actor=ACTOR)
    assert passing(ask, hourly.text) == 0


def test_an_override_keeps_what_was_used(ask, hourly, account):
    for _ in range(4):
        ask(hourly.text)
    override_limit(account, "hour", amount=100, burst=20, actor=ACTOR)
    assert left(ask(hourly.text)) == [15]
    override_limit(account, "hour", amount=100, burst=3, actor=ACTOR)
    assert left(ask(hourly.text)) == [0]
    override_limit(Account.objects.get(), "hour", amount=None, actor=ACTOR)
    assert left(ask(hourly.text)) == [4]


def test_after_a_change_a_look_an_explanation_and_a_refusal_say_the_same(ask, hourly):
    passing(ask, hourly.text)
    narrow(hourly.key, replace(OWN, amount=2, burst=2))
    look = look_at_limits(hourly.key.public_id, "sm")
    explanation = explain(Scenario(key_id=hourly.key.public_id, model="sm"))
    refused = ask(hourly.text)
    assert look is not None
    assert look[2].meters[0] == explanation.limits[0].left == left(refused)[0] == 0
    for whole_in in (look[2].meters[1], explanation.limits[0].whole_in):
        assert 3500 < whole_in <= 3600
    for wait in (look[2].wait, explanation.wait, retry_after(refused)):
        assert 1700 < wait <= 1800


DAILY = """
    default_plan = "free"
    [models.sm]
    [plans.free]
    models = ["sm"]
    limits = [
      { name = "day", per = "account", amount = 12, window = "day" },
      { name = "month", per = "key", amount = 20, window = "month", unit = "units" },
    ]
"""


@pytest.mark.parametrize("ahead", [2, 500])
def test_quotas_that_a_clock_left_used_up_in_windows_to_come_are_counted_from_usage(
    ask, catalogue, issued, redis_db, ahead
):
    catalogue(DAILY)
    key = issued.key.public_id
    for _ in range(3):
        assert ask(issued.text).status == 200
    copy_usage([key[:2]])
    account = names.account(key[:8])
    for subject, unit, window in ((key[:8], "requests", "day"), (key[8:], "units", "month")):
        number, its_window, _ = names.counter(subject, "*", unit, window)
        redis_db.hset(account, mapping={number: 99, its_window: int(redis_db.hget(account, its_window)) + ahead})
    assert left(ask(issued.text)) == [8, 16]
    assert left(ask(issued.text)) == [7, 15]


def test_a_quota_in_shadow_has_used_what_passed_once_it_is_enforced(ask, catalogue, issued):
    catalogue(DAILY.replace('amount = 12, window = "day"', 'amount = 2, window = "day", shadow = true'))
    for _ in range(4):
        assert ask(issued.text).status == 200
    catalogue(DAILY.replace("amount = 12", "amount = 5"))
    assert left(ask(issued.text)) == [0, 15]
    assert ask(issued.text).status == 429


def test_a_lowered_quota_is_used_up_until_its_window_ends(ask, catalogue, issued):
    catalogue(DAILY)
    for _ in range(4):
        ask(issued.text)
    catalogue(DAILY.replace("amount = 12", "amount = 3"))
    refused = ask(issued.text)
    assert (refused.status, left(refused)) == (429, [0, 16])
    ends = calendar_window("day", clock.hour()).end
    assert abs(retry_after(refused) - (ends - time())) < 30
    catalogue(DAILY)
    assert left(ask(issued.text)) == [7, 15]
