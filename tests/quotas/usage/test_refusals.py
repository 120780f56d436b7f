"""Refusals by reason, as they are read: exact across hours and days, the most frequent first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from authsvc.gate.decision import RULES
from authsvc.gate.verdict import Verdict
from quotas.limits import hour_of
from quotas.usage import days, ledger
from quotas.usage.reading import UsageSelection
from quotas.usage.refusals import (
    OVER_LIMIT,
    LimitName,
    MostRefused,
    RefusalRow,
    most_refused,
    position,
    read_refusals,
    read_shadow_refusals,
)

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADA, BOB = "AAAAAAAAkkkkkkk1", "BBBBBBBBkkkkkkk2"
MINUTE = LimitName("key", "*", "requests", "minute")
WEEK = UsageSelection(start=MIDNIGHT - 3 * days.DAY, end=MIDNIGHT + 4 * days.DAY)


def refused(at: datetime, key: str = ADA, model: str = "sm", birth: int = 1, **counts: int) -> ledger.CountedHour:
    """A usage hash, as if read from Redis; counts by a rule's word, by a limit, and in shadow."""
    fields = {"limit": f"l:{':'.join(MINUTE)}", "shadow": f"s:{':'.join(MINUTE)}"}
    raw = {fields.get(name, f"r:{name}"): str(count) for name, count in counts.items()}
    return ledger.CountedHour("name", key, model, hour_of(at), {"b": str(birth), **raw})


@pytest.fixture
def a_week():
    ledger.keep_hours(
        [
            refused(MIDNIGHT - HOUR, expired_key=2, limit=5),
            refused(MIDNIGHT, limit=7, shadow=9),
            refused(MIDNIGHT, limit=1, birth=2),
            refused(MIDNIGHT + 30 * HOUR, model="lg", model_not_allowed=4),
            refused(MIDNIGHT + 30 * HOUR, key=BOB, expired_key=6, shadow=1),
        ]
    )


def test_the_most_frequent_reason_comes_first(a_week):
    assert [(row.reason, row.limit, row.calls) for row in read_refusals(WEEK, most=10)] == [
        ("over_limit", MINUTE, 13),
        ("expired_key", None, 8),
        ("model_not_allowed", None, 4),
    ]
    assert [row.calls for row in read_refusals(WEEK, most=2)] == [13, 8]


def test_reasons_are_told_apart_by_account_key_and_model(a_week):
    by_all = replace(WEEK, groups=("account", "key", "model"))
    assert read_refusals(by_all, most=10) == [
        RefusalRow("over_limit", MINUTE, ADA[:8], ADA, "sm", 13),
        RefusalRow("expired_key", None, BOB[:8], BOB, "sm", 6),
        RefusalRow("model_not_allowed", None, ADA[:8], ADA, "lg", 4),
        RefusalRow("expired_key", None, ADA[:8], ADA, "sm", 2),
    ]
    assert [row.calls for row in read_refusals(replace(by_all, accounts=(BOB[:8],)), most=10)] == [6]
    assert [row.calls for row in read_refusals(replace(by_all, keys=(ADA,), models=("lg",)), most=10)] == [4]
    assert read_refusals(replace(by_all, accounts=()), most=10) == []


@pytest.mark.parametrize("hours", range(0, 54, 6))
@pytest.mark.parametrize("are_days_complete", [True, False])
def test_whatever_the_range_hours_and_days_agree(a_week, hours, are_days_complete):
    if are_days_complete:
        days.keep_days(60)
    start = MIDNIGHT - HOUR
    counted = [(MIDNIGHT - HOUR, 7), (MIDNIGHT, 8), (MIDNIGHT + 30 * HOUR, 10)]
    end = start + hours * HOUR
    rows = read_refusals(replace(WEEK, start=start, end=end), most=10) if hours else []
    assert sum(row.calls for row in rows) == sum(calls for at, calls in counted if start <= at < end)


def test_pages_continue_where_the_last_one_ended_and_lead_back(a_week):
    by_key = replace(WEEK, groups=("key", "model"))
    whole = read_refusals(by_key, most=10)
    for before, row in pairwise(whole):
        assert read_refusals(by_key, most=1, after=position(by_key, before)) == [row]
        assert read_refusals(by_key, most=1, after=position(by_key, row), backwards=True) == [before]


def test_refusals_in_shadow_are_apart(a_week):
    assert read_shadow_refusals(replace(WEEK, groups=("key",)), most=10) == [
        RefusalRow("shadow_refused", MINUTE, None, ADA, None, 9),
        RefusalRow("shadow_refused", MINUTE, None, BOB, None, 1),
    ]


def test_who_was_refused_most_and_why(a_week):
    assert most_refused(WEEK, most=1) == [
        MostRefused(
            ADA[:8],
            ADA,
            19,
            [
                RefusalRow("over_limit", MINUTE, None, ADA, "sm", 13),
                RefusalRow("model_not_allowed", None, None, ADA, "lg", 4),
                RefusalRow("expired_key", None, None, ADA, "sm", 2),
            ],
        )
    ]
    assert [one.key for one in most_refused(WEEK, most=9)] == [ADA, BOB]


def test_a_day_is_recomputed_from_its_hours(a_week):
    ledger.keep_hours([refused(MIDNIGHT - HOUR, limit=6), refused(MIDNIGHT + HOUR, limit=1)])
    ledger.keep_hours([refused(MIDNIGHT, limit=2)])  # an older copy
    (row,) = read_refusals(replace(WEEK, end=MIDNIGHT + days.DAY, models=("sm",)), most=1)
    assert row.calls == 6 + 7 + 1 + 1


def test_the_ledger_and_the_gate_have_the_same_words():
    assert Verdict.OVER_LIMIT.word == OVER_LIMIT
    for rule in RULES:
        word = rule.verdict.word
        hour = ledger.CountedHour("name", ADA, "sm", hour_of(MIDNIGHT), {"b": "1", f"r:{word}": "1"})
        assert [one[5] for one in hour.refusals()] == [word]
