"""Usage: who sees what, pages, CSV, and the cost of a page."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.test import AsyncClient, Client

from accounts.facts.publish import models_base
from accounts.models import Account, User
from accounts.services.roles import set_role
from api.base.sheets import as_cell
from quotas.models import UsageHour
from tests.api.callers import bearer
from tests.api.test_credentials import make
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db

USAGE = "/api/v1/usage/"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPAN = "since=2026-03-01T00:00:00Z&until=2026-04-01T00:00:00Z"


def use(key: str, at: datetime, allowed: int, model: str = "sm") -> None:
    UsageHour.objects.create(account=key[:8], key=key, model=model, hour=at, birth=1, allowed=allowed, units=allowed)


@pytest.fixture
def used(issued, pro_key) -> tuple[str, str]:
    """Ids of used keys of two accounts."""
    mine, theirs = issued.key.public_id, pro_key.key.public_id
    for number in range(30):
        use(mine, NOON + number * HOUR, 1)
    use(mine, NOON, 5, model="lg")
    use(theirs, NOON, 100)
    return mine, theirs


def rows(client: Client, query: str) -> Any:
    response = client.get(f"{USAGE}?{query}")
    assert response.status_code == 200, response.content
    return response.json()["results"]


def test_by_default_usage_is_by_day_of_this_month(of_acme, issued):
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    use(issued.key.public_id, now, 7)
    use(issued.key.public_id, now - 40 * 24 * HOUR, 9)
    (row,) = rows(of_acme, "")
    assert (row["allowed"], row["units"], row["refused"]) == (7, 7, 0)
    assert row["start"] == now.replace(hour=0).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_intervals_groups_and_filters(of_acme, used):
    assert [row["allowed"] for row in rows(of_acme, f"{SPAN}&interval=total")] == [35]
    assert [row["allowed"] for row in rows(of_acme, f"{SPAN}&interval=day")] == [12 + 5, 18]
    assert [(row["model"], row["allowed"]) for row in rows(of_acme, f"{SPAN}&interval=month&group_by=model")] == [
        ("lg", 5),
        ("sm", 30),
    ]
    assert len(rows(of_acme, f"{SPAN}&interval=hour&model=sm&key={used[0]}")) == 30
    assert rows(of_acme, f"{SPAN}&interval=total&model=none") == []
    assert set(rows(of_acme, f"{SPAN}&group_by=key,account")[0]) == {
        "start",
        "end",
        "account",
        "key",
        "allowed",
        "refused",
        "shadow_refused",
        "units",
    }


def test_pages_lead_forwards_and_back_through_every_row_once(of_acme, used):
    for order in ("time", "-time"):
        whole = rows(of_acme, f"{SPAN}&interval=hour&group_by=model&order={order}")
        assert len(whole) == 31
        pages, url = [], f"{USAGE}?{SPAN}&interval=hour&group_by=model&order={order}&page_size=7"
        while url:
            page = of_acme.get(url).json()
            pages.append(page["results"])
            url, last = page["next"], page
        assert [row for page in pages for row in page] == whole
        backwards = [last["results"]]
        while last["previous"]:
            last = of_acme.get(last["previous"]).json()
            backwards.insert(0, last["results"])
        assert backwards == pages


def test_an_account_sees_its_own_usage_and_an_operator_everybodys(of_acme, operator_program, used, account):
    mine, theirs = used
    assert {row["key"] for row in rows(of_acme, f"{SPAN}&group_by=key")} == {mine}
    assert {row["key"] for row in rows(operator_program, f"{SPAN}&group_by=key")} == {mine, theirs}
    for query in (
        f"account={theirs[:8]}",
        f"key={theirs}",
        "account=00000000",
        "key=0000000000000000",
        "external_id=x",
    ):
        assert of_acme.get(f"{USAGE}?{SPAN}&{query}").status_code == 404
    assert [row["allowed"] for row in rows(operator_program, f"{SPAN}&interval=total&account={theirs[:8]}")] == [100]


def test_a_key_is_of_the_account_whose_whole_id_it_begins_with(of_acme, used):
    mine, _ = used
    neighbours = mine[:7] + ("y" if mine[7] == "x" else "x") + mine[8:]
    assert of_acme.get(f"{USAGE}?{SPAN}&key={neighbours}").status_code == 404


def test_an_operator_can_write_invoices_by_external_id(operator_program, used, account):
    models_base(Account).filter(pk=account.pk).update(external_id="cus_42")
    invoices = {
        row["external_id"]: row["units"] for row in rows(operator_program, f"{SPAN}&interval=total&group_by=account")
    }
    assert invoices == {"cus_42": 35, None: 100}
    assert [row["units"] for row in rows(operator_program, f"{SPAN}&interval=total&external_id=cus_42")] == [35]
    assert operator_program.get(f"{USAGE}?external_id=nobody").status_code == 404


def test_people_see_the_usage_of_the_accounts_that_they_belong_to(used, account, pro_account):
    person, client = User.objects.create_user("ann"), Client()
    client.force_login(person)
    assert rows(client, SPAN) == []
    set_role(account, person, "viewer", actor=ACTOR)
    assert sum(row["allowed"] for row in rows(client, SPAN)) == 35
    set_role(pro_account, person, "viewer", actor=ACTOR)
    assert sum(row["allowed"] for row in rows(client, SPAN)) == 135


def test_without_the_scope_there_is_no_usage(account, used):
    for kind in ("management", "operator"):
        response = bearer(make(kind, account, scopes=("keys:write",))[1]).get(USAGE)
        assert response.status_code == 403 and "usage:read" in response["WWW-Authenticate"]
    assert Client().get(USAGE).status_code == 401


WRONG = {
    "since=2026-03-01T00:30:00Z": "since",
    "until=2026-03-01T00:00:01Z": "until",
    "since=2026-03-01": "since",
    "since=2026-03-02T00:00:00Z&until=2026-03-02T00:00:00Z": "until",
    "interval=week": "interval",
    "group_by=key,key": "group_by",
    "group_by=plan": "group_by",
    "cursor=x": "cursor",
    "cursor=WyI5OTk5LTEyLTMxVDAwOjAwOjAwKzAwOjAwIixbXSxmYWxzZV0": "cursor",
    "since=9999-12-31T23:00:00Z": "since",
    "until=0001-01-01T00:00:00%2B23:00": "until",
    "cursor=WyIyMDI2LTAzLTAxVDAwOjAwOjAwIixbXSxmYWxzZV0": "cursor",
    "page_size=0": "page_size",
    "from=2026-03-01T00:00:00Z": "from",
}


@pytest.mark.parametrize("query", WRONG)
def test_an_invalid_query_names_the_wrong_parameter(of_acme, query):
    response = of_acme.get(f"{USAGE}?{query}")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert WRONG[query] in {error["field"] for error in response.json()["errors"]}


def as_rows(response) -> Any:
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/csv")
    assert "attachment" in response["Content-Disposition"]
    return list(csv.DictReader(StringIO(b"".join(response.streaming_content).decode())))


@pytest.mark.parametrize("how", ["accept", "format"])
def test_csv_has_every_row_in_one_file(of_acme, used, how):
    url = f"{USAGE}?{SPAN}&interval=hour&group_by=key,model&page_size=2"
    response = of_acme.get(url, headers={"Accept": "text/csv"}) if how == "accept" else of_acme.get(f"{url}&format=csv")
    found = as_rows(response)
    assert len(found) == 31
    assert sum(int(row["allowed"]) for row in found) == 35
    assert found[0]["start"] == "2026-03-10T12:00:00Z"


@pytest.mark.django_db(transaction=True)
def test_csv_is_streamed_by_a_server_of_asgi_too(account, used):
    text = make("management", account, scopes=("usage:read",))[1]

    async def ask() -> bytes:
        url = f"{USAGE}?{SPAN}&interval=hour&format=csv"
        response: Any = await AsyncClient().get(url, headers={"Authorization": f"Bearer {text}"})
        assert response.is_async
        return b"".join([piece async for piece in response])

    assert len(asyncio.run(ask()).splitlines()) == 31


def test_an_error_is_a_problem_document_even_if_csv_was_requested(of_acme):
    response = of_acme.get(f"{USAGE}?interval=week", headers={"Accept": "text/csv"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert response.json()["errors"]


def test_no_cell_is_evaluated_as_a_formula(operator_program, used, account):
    models_base(Account).filter(pk=account.pk).update(external_id="+1-555|cmd")
    found = as_rows(operator_program.get(f"{USAGE}?{SPAN}&interval=total&group_by=account&format=csv"))
    assert {row["external_id"] for row in found} == {"'+1-555|cmd", ""}
    assert [as_cell(text) for text in ("=1", "@x", "-1", "\t=1", "a=1", 5, None)] == [
        "'=1",
        "'@x",
        "'-1",
        "'\t=1",
        "a=1",
        "5",
        "",
    ]


def test_a_page_takes_the_same_number_of_queries_however_many_rows_it_has(
    operator_program, used, django_assert_num_queries
):
    url = f"{USAGE}?{SPAN}&interval=hour&group_by=account,model"
    operator_program.get(url)
    for size in (1, 500):
        with django_assert_num_queries(3):  # the credential, usage, external ids
            operator_program.get(f"{url}&page_size={size}")


def test_a_page_by_key_takes_two_more_queries_at_most(operator_program, used, django_assert_max_num_queries):
    url = f"{USAGE}?{SPAN}&interval=hour&group_by=account,key,model"
    operator_program.get(url)
    for size in (1, 500):
        with django_assert_max_num_queries(5):  # usage of the first hours, and of all others
            operator_program.get(f"{url}&page_size={size}")
