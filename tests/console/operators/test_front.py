"""The admin's front page: what it counts, what it leads to, who sees what, and what it says when Redis is away."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from threading import Event

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import OutboxRow
from accounts.services.keys import issue_key
from console.operators import condition
from store.examination import Examination
from tests.conftest import ACTOR
from tests.console.operators.conftest import count_calls
from tests.servers import START_SECONDS

pytestmark = pytest.mark.django_db


def words(response) -> str:
    """What a reader sees, in one line."""
    main = response.content.decode().partition("<main")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def test_it_counts_the_calls_of_all_accounts(operator, busy):
    page = words(operator.get("/admin/"))
    assert "Allowed today 907 3 yesterday" in page
    assert "Refused today 3 0% of all calls · 45 yesterday" in page
    assert "Refused in shadow today 1" in page
    assert "Keys in use 2 2 active accounts" in page


def test_the_accounts_and_models_with_the_most_calls_come_first(operator, busy):
    context = operator.get("/admin/").context
    assert [(one.name, one.sums.allowed, one.percent) for one in context["accounts"]] == [
        ("Globex", 900, 100),
        ("acme", 10, 1),
    ]
    assert [(one.name, one.sums.allowed) for one in context["models"]] == [("lg", 900), ("sm", 10)]


def test_each_figure_leads_to_the_page_behind_it(operator, busy, account):
    issue_key(account, name="expiring", expires_at=timezone.now() + timedelta(days=3), actor=ACTOR)
    page = operator.get("/admin/").content.decode().partition("<main")[2]
    paths = set(re.findall(r'href="(/admin/[^"]+)"', page))
    assert {f"/admin/accounts/account/{account.pk}/change/", "/admin/refused/", "/admin/usage/"} <= paths
    for path in paths:
        assert operator.get(unescape(path)).status_code == 200, path


def test_without_calls_it_says_what_to_look_at(operator, account):
    page = words(operator.get("/admin/"))
    assert "No calls yet" in page and "keep_ledger" in page
    assert "Refused most yesterday" not in page


def test_a_change_that_waits_is_shown_with_its_age(operator, account):
    OutboxRow.objects.all().delete()
    assert "The gate knows every change." in words(operator.get("/admin/"))
    OutboxRow.objects.create(part="account", subject=account.public_id, version=2)
    OutboxRow.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    assert "Changes waiting 1 The oldest was saved 5 minutes ago" in words(operator.get("/admin/"))


def test_a_redis_that_is_away_is_said(operator, busy, redis_away):
    with redis_away():
        page = words(operator.get("/admin/"))
    assert "Not usable The store does not answer" in page
    assert "Allowed today 907" in page


def test_a_redis_that_hangs_holds_nobody_up(monkeypatch):
    """And those who come meanwhile share the one question that is being asked."""
    asked, answers = [], Event()

    def hang() -> Examination:
        asked.append(1)
        answers.wait(START_SECONDS)
        return Examination()

    monkeypatch.setattr(condition, "by_client", hang)
    monkeypatch.setattr(condition, "SECONDS", 0.01)
    faults = [condition.examine().store.faults for _ in range(3)]
    assert faults == [("the store does not answer (TimeoutError)",)] * 3
    assert asked == [1]
    answers.set()


@pytest.mark.parametrize(
    ("permission", "seen"),
    [
        ("view_usagehour", "Allowed today"),
        ("view_apikey", "Keys that expire soon"),
        ("view_auditevent", "Latest changes"),
        ("view_outboxrow", "Changes waiting"),
    ],
)
def test_staff_see_what_they_may(staff, busy, permission, seen):
    assert seen in words(staff(permission).get("/admin/"))
    assert seen not in words(staff().get("/admin/"))


def test_the_number_of_queries_does_not_depend_on_the_number_of_keys(
    operator, busy, globex, issue_many, django_assert_num_queries
):
    issue_key(globex, name="expiring", expires_at=timezone.now() + timedelta(days=3), actor=ACTOR)
    operator.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        operator.get("/admin/")
    for key in issue_many(globex, 20):
        count_calls(key, "sm", days_ago=1, allowed=3, refused=3)
    with django_assert_num_queries(len(few)):
        operator.get("/admin/")
