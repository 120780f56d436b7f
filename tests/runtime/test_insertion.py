"""Rows inserted at once are those that the ORM would have saved one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, AuditEvent, OutboxRow
from runtime.insertion import insert

pytestmark = pytest.mark.django_db

MOMENT = datetime(2031, 1, 31, 12, 0, 0, 5, tzinfo=UTC)
COLUMNS = ("public_id", "account_id", "name", "narrowed_to", "expires_at")
# What text formats, JSON and SQL each have their own signs for.
NAMES = ["plain", "a\ttab", "back\\slash \\N \\.", "%s %(x)s", "quote ' \" ;", "é ☃ 🔑", "line\nbreak"]


def test_rows_are_as_the_orm_saves_them(account):
    ids = [f"{account.public_id}{number:08}" for number in range(2 * len(NAMES))]
    insert(ApiKey, COLUMNS, [(ids[n], account.pk, name, ["sm", name], MOMENT) for n, name in enumerate(NAMES)])
    for number, name in enumerate(NAMES, len(NAMES)):
        ApiKey.objects.create(
            public_id=ids[number], account=account, name=name, narrowed_to=["sm", name], expires_at=MOMENT
        )
    at_once, one_by_one = ([_told(key) for key in ids[start : start + len(NAMES)]] for start in (0, len(NAMES)))
    assert at_once == one_by_one


def _told(public_id: str) -> dict[str, object]:
    """Every column but those that tell one row from another."""
    (row,) = ApiKey.objects.filter(public_id=public_id).values()
    assert datetime.now(UTC) - row["created_at"] < timedelta(hours=1) > datetime.now(UTC) - row["changed_at"]
    return {name: value for name, value in row.items() if name not in ("id", "public_id", "created_at", "changed_at")}


def test_null_is_null_and_the_rest_is_alike(account):
    insert(AuditEvent, ["subject", "after"], [("a", None), ("b", {"x": [1, None, "\\"]})], actor="me", act="key.import")
    rows = AuditEvent.objects.filter(actor="me").order_by("id").values_list("subject", "before", "after", "address")
    assert list(rows) == [("a", None, None, ""), ("b", None, {"x": [1, None, "\\"]}, "")]
    assert AuditEvent.objects.filter(after__isnull=True, actor="me").count() == 1


def test_one_invalid_row_leaves_none(account):
    rows = [(f"{account.public_id}{number:08}", account.pk, "n", None, None) for number in range(3)]
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(ApiKey, COLUMNS, [*rows, rows[0]])
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(ApiKey, COLUMNS, [*rows[:2], (*rows[2][:2], "", None, None)])  # the database refuses an empty name
    assert not ApiKey.objects.exists()


def test_a_thousand_rows_take_one_statement():
    with CaptureQueriesContext(connection) as captured:
        insert(OutboxRow, ["subject"], ((f"{number:016}",) for number in range(1000)), part="key", version=1)
    assert (len(captured), OutboxRow.objects.count()) == (1, 1000)
