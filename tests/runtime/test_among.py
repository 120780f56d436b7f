"""One parameter instead of thousands, and the same rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from accounts.models import OutboxRow
from runtime.among import among
from runtime.insertion import insert

pytestmark = pytest.mark.django_db

SUBJECTS = ["plain", 'a "quote"', "back\\slash", "{a,b}", "NULL", "é", "", "12"]


@pytest.fixture
def rows():
    insert(OutboxRow, ["subject", "version"], zip(SUBJECTS, range(len(SUBJECTS)), strict=True), part="key")


@pytest.mark.parametrize("wanted", [[], ["12"], ["plain", "nobody"], SUBJECTS[1:], SUBJECTS * 5000])
def test_it_finds_what_in_finds(rows, wanted):
    found = OutboxRow.objects.filter(among("subject", wanted)).values_list("subject", flat=True)
    assert set(found) == set(OutboxRow.objects.filter(subject__in=set(wanted)).values_list("subject", flat=True))


def test_numbers_are_found_too_and_conditions_combine(rows):
    found = OutboxRow.objects.filter(Q(among("version", range(3, 2**40, 2**38))) | Q(among("subject", ["12"])))
    assert set(found.values_list("subject", flat=True)) == {"{a,b}", "12"}
    assert OutboxRow.objects.exclude(among("subject", SUBJECTS[1:])).get().subject == "plain"


def test_any_number_of_values_is_one_parameter_and_an_index_finds_them(rows):
    insert(OutboxRow, ["subject"], ((f"{number}",) for number in range(2000)), part="key", version=1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    chosen = OutboxRow.objects.filter(among("subject", ["12", "plain"]), part="key")
    with CaptureQueriesContext(connection) as captured:
        assert chosen.count() == 3
    assert "outbox_by_part" in chosen.order_by().explain(), captured.captured_queries
