"""Who was refused most, and why, in all accounts."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from accounts.services.keys import revoke_key
from quotas.models import RefusalDay, RefusalHour
from tests.conftest import ACTOR
from tests.console.operators.conftest import count_calls
from tests.console.operators.test_front import words

pytestmark = pytest.mark.django_db


def test_the_most_refused_come_first_each_with_the_reason(operator, busy):
    page = words(operator.get("/admin/refused/"))
    assert "acme laptop → sm Over a limit: 60 calls a minute, bursts of 10, for each key" in page
    assert page.index("Over a limit") < page.index("Unknown model")
    assert [row.calls for row in operator.get("/admin/refused/").context["rows"]] == [40, 5]


def test_the_front_page_has_them_too(operator, busy):
    page = words(operator.get("/admin/"))
    assert "Refused most yesterday" in page and "Over a limit: 60 calls a minute" in page
    assert "Calls per minute, for each key 43 1" in page


def test_a_period_is_chosen(operator, busy):
    assert [row.calls for row in operator.get("/admin/refused/?period=today").context["rows"]] == [2, 1]
    assert [row.calls for row in operator.get("/admin/refused/?period=week").context["rows"]] == [42, 5, 1]
    assert operator.get("/admin/refused/?period=nonsense").context["period"] == "yesterday"


def test_limits_are_told_apart_from_what_they_would_have_refused_in_shadow(operator, busy):
    (one,) = operator.get("/admin/refused/?period=week").context["limits"]
    assert (one.words, one.refused, one.shadow) == ("calls per minute, for each key", 43, 1)


def test_what_was_refused_before_reasons_were_counted_is_not_lost(operator, busy):
    RefusalHour.objects.all().delete()
    RefusalDay.objects.all().delete()
    response = operator.get("/admin/refused/")
    assert response.context["more"] == 45 and "Nothing was refused" not in words(response)


def test_keys_and_accounts_that_are_gone_keep_their_ids(operator, busy):
    count_calls(busy[0], "sm", days_ago=2, refused=77, why="revoked_key")
    revoke_key(busy[0], actor=ACTOR)
    for table in (RefusalHour, RefusalDay):
        table.objects.filter(calls=77).update(account="00000000", key="0" * 16)
    row = operator.get("/admin/refused/?period=week").context["rows"][0]
    assert (row.account_pk, row.key, row.key_id, row.why) == (None, None, "0" * 16, "Key revoked")


def test_its_queries_do_not_grow_with_the_keys(operator, busy, issue_many, django_assert_num_queries):
    operator.get("/admin/refused/")
    with CaptureQueriesContext(connection) as few:
        operator.get("/admin/refused/")
    for key in issue_many(Account.objects.get(name="Globex"), 10):
        count_calls(key, "sm", days_ago=1, refused=3)
    with django_assert_num_queries(len(few)):
        operator.get("/admin/refused/")


def test_nothing_refused_is_said(operator, account):
    assert "Nothing was refused" in words(operator.get("/admin/refused/"))


def test_only_who_may_see_usage_may_see_it(staff, busy):
    assert staff("view_account").get("/admin/refused/").status_code == 403
    assert staff("view_usagehour").get("/admin/refused/").status_code == 200
