"""Refusals by reason: who sees which, filters, pages, and the cost of a page."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from quotas.models import RefusalHour

pytestmark = pytest.mark.django_db

REFUSALS = "/api/v1/usage/refusals/"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SPAN = "since=2026-03-01T00:00:00Z&until=2026-04-01T00:00:00Z"
BY_MINUTE = "key:*:requests:minute"


def refuse(key: str, calls: int, reason: str, by_limit: str = "", *, model: str = "sm", days: int = 0) -> None:
    RefusalHour.objects.create(
        account=key[:8],
        key=key,
        model=model,
        hour=NOON + timedelta(days=days),
        birth=1,
        reason=reason,
        by_limit=by_limit,
        calls=calls,
    )


@pytest.fixture
def refused(issued, pro_key) -> tuple[str, str]:
    """Ids of keys of two accounts, of which calls were refused."""
    mine, theirs = issued.key.public_id, pro_key.key.public_id
    refuse(mine, 5, "over_limit", BY_MINUTE)
    refuse(mine, 6, "over_limit", BY_MINUTE, days=1)
    refuse(mine, 3, "model_not_allowed", model="lg")
    refuse(mine, 2, "shadow_refused", BY_MINUTE)
    refuse(theirs, 100, "wrong_secret")
    return mine, theirs


def rows(client: Client, query: str) -> Any:
    response = client.get(f"{REFUSALS}?{query}")
    assert response.status_code == 200, response.content
    return response.json()["results"]


def test_reasons_come_with_the_limit_that_refused(of_acme, refused):
    assert rows(of_acme, SPAN) == [
        {
            "reason": "over_limit",
            "limit": {"per": "key", "model": "*", "unit": "requests", "window": "minute"},
            "calls": 11,
        },
        {"reason": "model_not_allowed", "limit": None, "calls": 3},
    ]


def test_groups_and_filters(of_acme, refused):
    (row,) = rows(of_acme, f"{SPAN}&group_by=key,account,model&model=lg")
    assert row == {
        "reason": "model_not_allowed",
        "limit": None,
        "account": refused[0][:8],
        "key": refused[0],
        "model": "lg",
        "calls": 3,
    }
    assert [row["calls"] for row in rows(of_acme, "since=2026-03-11T00:00:00Z&until=2026-03-12T00:00:00Z")] == [6]
    assert rows(of_acme, f"{SPAN}&model=none") == []


def test_an_operator_sees_every_account_and_others_only_theirs(of_acme, operator_program, refused):
    by_key = f"{SPAN}&group_by=key"
    assert [row["key"] for row in rows(operator_program, by_key)] == [refused[1], refused[0], refused[0]]
    assert {row["key"] for row in rows(of_acme, by_key)} == {refused[0]}
    assert of_acme.get(f"{REFUSALS}?key={refused[1]}").status_code == 404
    assert of_acme.get(f"{REFUSALS}?account={refused[1][:8]}").status_code == 404


def test_pages_lead_forward_and_back(operator_program, refused):
    query = f"{SPAN}&group_by=key"
    whole = rows(operator_program, query)
    page, seen = operator_program.get(f"{REFUSALS}?{query}&page_size=1").json(), []
    while page["next"]:
        seen += page["results"]
        page = operator_program.get(page["next"]).json()
    assert [*seen, *page["results"]] == whole
    assert operator_program.get(page["previous"]).json()["results"] == [whole[-2]]


@pytest.mark.parametrize(
    "query", ["since=2026-03-10T12:30:00Z", "group_by=reason", "cursor=WzFd", "cursor=!", "order=x"]
)
def test_a_bad_query_is_refused(of_acme, query):
    assert of_acme.get(f"{REFUSALS}?{query}").status_code == 400


@pytest.mark.parametrize(
    "place", [[1, "over_limit"], [1, "over_limit", "", "a key"], [2**63, "over_limit", ""], [-1, "over_limit", ""]]
)
def test_a_cursor_is_taken_for_the_rows_that_it_was_made_for(of_acme, refused, place):
    def cursor(*values) -> str:
        return urlsafe_b64encode(json.dumps([*values, False]).encode()).decode()

    assert of_acme.get(f"{REFUSALS}?{SPAN}", {"cursor": cursor(1, "over_limit", "")}).status_code == 200
    assert of_acme.get(f"{REFUSALS}?{SPAN}", {"cursor": cursor(*place)}).status_code == 400


def test_a_page_costs_the_same_however_many_rows_there_are(of_acme, issued, django_assert_num_queries):
    rows(of_acme, SPAN)
    with django_assert_num_queries(4):
        rows(of_acme, SPAN)
    for number in range(50):
        refuse(issued.key.public_id, 1, "over_limit", BY_MINUTE, days=number % 20, model=f"m{number}")
    with django_assert_num_queries(4):
        assert len(rows(of_acme, f"{SPAN}&group_by=model")) == 50
