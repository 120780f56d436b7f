"""What the gate refuses is counted by reason, and what it lets in is known by its address."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.ledger_worker import Worker
from accounts.models import KeySecret
from accounts.services.accounts import suspend_account
from accounts.services.keys import change_key
from quotas.usage.reading import HOUR, UsageSelection
from quotas.usage.refusals import read_refusals
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)


def reasons() -> dict[str, int]:
    """Refused calls of this hour by reason and model, after a turn of the worker."""
    Worker().turn()
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    rows = read_refusals(UsageSelection(start=now - HOUR, end=now + HOUR, groups=("model",)), most=50)
    return {f"{row.model} {row.reason} {':'.join(row.limit or ())}".strip(): row.calls for row in rows}


def test_each_refusal_of_a_known_key_is_counted_under_its_verdict(ask, issued):
    assert ask(issued.text).status == 200
    for _ in range(2):
        ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")
    ask(issued.text, x_forwarded_uri="/nowhere", query="")
    ask(issued.text, query="model=lg")
    change_key(issued.key, actor=ACTOR, methods=["GET"])
    ask(issued.text)
    change_key(issued.key, actor=ACTOR, methods=[], networks=["198.51.100.0/24"])
    ask(issued.text)
    change_key(issued.key, actor=ACTOR, networks=[], expires_at=timezone.now() - timedelta(days=1))
    ask(issued.text)
    change_key(issued.key, actor=ACTOR, expires_at=None)
    suspend_account(issued.key.account, actor=ACTOR)
    ask(issued.text)
    assert reasons() == {
        "lg model_not_allowed": 2,
        "- unknown_model": 1,
        "sm pin_mismatch": 1,
        "sm method_not_allowed": 1,
        "sm address_not_allowed": 1,
        "sm expired_key": 1,
        "sm account_suspended": 1,
    }


def test_two_reasons_that_alternate_under_the_same_facts_are_counted_apart(ask, issued):
    change_key(issued.key, actor=ACTOR, methods=["GET"], networks=["203.0.113.0/24"])
    for _ in range(2):
        assert ask(issued.text).status == 403
        assert ask(issued.text, x_forwarded_for="198.51.100.1").status == 403
        assert ask(issued.text, x_forwarded_method="GET").status == 200
    assert reasons() == {"sm method_not_allowed": 2, "sm address_not_allowed": 2}


def test_calls_over_a_limit_are_counted_under_the_limit(ask, issued):
    allowed = sum(ask(issued.text).status == 200 for _ in range(13))
    assert reasons() == {"sm over_limit key:*:requests:minute": 13 - allowed}
    assert 0 < allowed < 13


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("fe80::1%eth0 \x7f", "fe80::1"),
    ],
)
def test_a_secret_remembers_where_it_was_last_used(ask, issued, forwarded_for, address):
    assert ask(issued.text, x_forwarded_for="198.51.100.1").status == 200
    assert ask(issued.text, x_forwarded_for=forwarded_for).status == 200
    ask(issued.text, x_forwarded_for="198.51.100.2", x_forwarded_uri="/nowhere", query="")  # refused: not a use
    Worker().turn()
    assert KeySecret.objects.get().last_used_from == address
