"""The page of an account: what it shows at a glance, and a change of its plan with what that would have refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.admin import moving
from accounts.services.accounts import close_account, override_limit
from accounts.services.keys import issue_key
from quotas.models import Plan, ServedModel
from quotas.usage.days import day_start
from tests.accounts.admin.test_admin import page_of, said
from tests.accounts.forms import send
from tests.conftest import ACTOR
from tests.console.operators.conftest import busy, count_calls, globex, staff  # noqa: F401  fixtures
from tests.console.operators.test_front import words

pytestmark = pytest.mark.django_db


def test_it_shows_usage_keys_and_limits_at_a_glance(operator, account, busy):  # noqa: F811
    override_limit(account, "month", 77, actor=ACTOR)
    page = words(operator.get(page_of(account)))
    assert "Allowed, 30 days 10 Refused, 30 days 42 81% of all calls" in page
    assert "Keys 1 key Issue a key laptop" in page
    assert "77 units a month, shared by all keys own amount" in page
    assert "60 calls a minute, bursts of 10, for each key" in page


def test_staff_who_may_see_accounts_alone_see_no_usage_and_no_keys(account, busy, staff):  # noqa: F811
    page = words(staff("view_account").get(page_of(account)))
    assert "Allowed, 30 days" not in page and "laptop" not in page and "Change plan" not in page


def test_it_costs_as_many_queries_with_many_keys_as_with_few(
    operator, account, django_assert_max_num_queries, django_assert_num_queries
):
    operator.get(page_of(account))
    with django_assert_max_num_queries(40) as few:
        operator.get(page_of(account))
    for number in range(20):
        issue_key(account, name=f"k{number}", actor=ACTOR)
    with django_assert_num_queries(len(few) + 1):  # the secrets of those that are listed
        operator.get(page_of(account))


# Changing the plan


def offered(response) -> dict[str, moving.PlanOffer]:
    return {one.plan.name: one for one in response.context["offers"]}


def test_each_plan_tells_what_it_would_have_refused_last_week(operator, globex, busy):  # noqa: F811
    _, key = busy
    count_calls(key, "sm", days_ago=3, allowed=1500)
    count_calls(key, "sm", days_ago=40, allowed=9999)
    response = operator.get(page_of(globex, "plan"))
    found = offered(response)
    assert found["pro"].is_current and found["pro"].refused and found["pro"].refused.at_least == 0
    assert found["free"].refused and found["free"].refused.calls == 1500
    page = words(response)
    assert "60 calls a minute, bursts of 10, for each key" in page and "At least" in page


def test_calls_of_today_and_calls_that_were_refused_are_left_out(operator, account, busy):  # noqa: F811
    free = offered(operator.get(page_of(account, "plan")))["free"]
    assert free.refused and (free.refused.calls, free.refused.at_least) == (3, 0)


def test_a_model_that_a_plan_lacks_is_told(operator, globex, busy):  # noqa: F811
    count_calls(busy[1], "lg", days_ago=2, allowed=12, units=60)
    response = operator.get(page_of(globex, "plan"))
    free = offered(response)["free"]
    assert free.refused and free.refused.by_model == {"lg": 12} and free.share == 1.0
    assert "12 : the plan lacks lg" in words(response) or "12: the plan lacks lg" in words(response)


def test_an_override_counts_for_the_limit_of_its_name(operator, account, busy):  # noqa: F811
    count_calls(busy[0], "sm", days_ago=2, allowed=50)
    override_limit(account, "month", 20, actor=ACTOR)
    free = offered(operator.get(page_of(account, "plan")))["free"]
    assert free.refused and free.refused.at_least >= 30


def test_an_account_with_too_much_usage_by_key_is_told_by_model(account, busy, monkeypatch):  # noqa: F811
    monkeypatch.setattr(moving, "MOST_ROWS", 0)
    week = moving.last_week(account, timezone.now())
    assert not week.knows_keys and sum(row.allowed for row in week.rows if row.start >= week.start) == 3
    (free, _) = moving.offers(account)
    assert (None, "60 calls a minute, bursts of 10, for each key") in [(calls, text) for text, calls in free.told]


def test_with_very_many_plans_none_is_asked(operator, account, busy, monkeypatch):  # noqa: F811
    monkeypatch.setattr(moving, "MOST_PLANS", 1)
    assert "Too many plans to tell." in words(operator.get(page_of(account, "plan")))


def test_the_week_before_counts_whole_days(account, busy):  # noqa: F811
    now = timezone.now()
    week = moving.last_week(account, now)
    assert week.start == day_start(now) - timedelta(days=7)
    assert all(row.start < day_start(now) for row in week.rows)


def test_a_plan_that_is_not_there_is_refused_with_the_page(operator, account):
    response = send(operator, page_of(account, "plan"), plan="99999")
    assert response.status_code == 200 and "Select a valid choice" in response.content.decode()


def test_a_closed_account_may_still_be_moved_and_offers_no_button(operator, account):
    close_account(account, actor=ACTOR)
    assert "Change plan" not in words(operator.get(page_of(account)))


def test_only_who_may_change_accounts_may_change_the_plan(staff, account):  # noqa: F811
    assert staff("view_account").get(page_of(account, "plan")).status_code == 403
    client = staff("view_account", "change_account")
    response = send(client, page_of(account, "plan"), plan=Plan.objects.get(name="pro").pk)
    assert "is on the plan pro" in said(response, client)
    assert ServedModel.objects.count() == 2
