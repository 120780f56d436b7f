"""Every decision increments the counter of its word once, whatever is logged."""

from __future__ import annotations

from collections import Counter

import pytest
from django.conf import settings as configured

from runtime.replica import decisions

pytestmark = pytest.mark.django_db(transaction=True)


def raised(act) -> Counter[str]:
    before = decisions()
    act()
    return decisions() - before


@pytest.mark.parametrize("logs", ["refused", "all"])
def test_each_allowed_call_is_counted_once(ask, issued, settings, logs):
    settings.LOG_DECISIONS = logs
    assert raised(lambda: [ask(issued.text) for _ in range(3)]) == {"allowed": 3}


def test_by_default_refusals_alone_are_logged():
    assert configured.LOG_DECISIONS == "refused"


def test_each_refusal_is_counted_once_under_its_own_word(ask, issued):
    assert raised(lambda: ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")) == {"model_not_allowed": 1}
    assert raised(lambda: ask(None)) == {"no_key": 1}
    assert raised(lambda: ask(issued.text, query="MODEL=sm")) == {"pin_mismatch": 1}
    assert raised(lambda: ask(issued.text, path="/")) == {"not_forwarded": 1}
    assert raised(lambda: [ask(issued.text) for _ in range(12)])["over_limit"] >= 1
