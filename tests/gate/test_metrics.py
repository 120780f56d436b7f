"""Every decision increments the counter of its word once, whatever is logged."""

from __future__ import annotations

from collections import Counter

import pytest
from django.conf import settings as configured

from accounts.keys import new_key, new_key_id
from accounts.peppers import peppers
from accounts.services.keys import issue_key
from authsvc.gate.explain import Scenario, explain, look_at_limits
from quotas.buckets import clock
from runtime import measures, replica
from runtime.series import series_of
from store import names
from tests.conftest import ACTOR
from tests.servers import until

pytestmark = pytest.mark.django_db(transaction=True)


def counted(of) -> Counter[str]:
    return Counter({" ".join(labels): number for labels, number in series_of(of.name, replica.totals())})


def raised(act, of=measures.DECISIONS) -> Counter[str]:
    """What `act` adds to a metric, by the values of its labels."""
    before = counted(of)
    act()
    return counted(of) - before


@pytest.mark.parametrize("logs", ["refused", "all"])
def test_each_allowed_call_is_counted_once(ask, issued, settings, logs):
    settings.LOG_DECISIONS = logs
    assert raised(lambda: [ask(issued.text) for _ in range(3)]) == {"allowed sm": 3}


def test_by_default_refusals_alone_are_logged():
    assert configured.LOG_DECISIONS == "refused"


def test_each_refusal_is_counted_once_under_its_own_word(ask, issued):
    assert raised(lambda: ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")) == {
        "model_not_allowed lg": 1
    }
    assert raised(lambda: ask(None)) == {"no_key -": 1}
    assert raised(lambda: ask(issued.text, query="MODEL=sm")) == {"pin_mismatch -": 1}
    assert raised(lambda: ask(issued.text, path="/")) == {"not_forwarded -": 1}
    assert raised(lambda: [ask(issued.text) for _ in range(12)])["over_limit sm"] >= 1


def test_how_long_each_decision_took_is_in_the_histogram(ask, issued):
    times = raised(lambda: [ask(issued.text), ask(None)], measures.DECISION_TIME)
    assert times.pop("sum") > 0
    assert sum(times.values()) == 2


def test_the_kind_of_each_limit_that_refused_is_counted(ask, issued):
    def ask_until_refused():
        while ask(issued.text).status == 200:
            pass

    assert raised(ask_until_refused, measures.OVER_LIMIT) == {"key minute requests": 1}


def test_what_a_limit_in_shadow_would_have_refused_is_counted(ask, catalogue, account):
    catalogue(
        """
        [models.sm]
        [models.lg]
        cost = 5
        path = "/v1/large"
        [plans.free]
        models = ["sm"]
        limits = [{ name = "day", per = "key", amount = 2, window = "day", shadow = true }]
        [plans.pro]
        models = ["*"]
        """
    )
    key = issue_key(account, name="in shadow", actor=ACTOR)
    assert raised(lambda: [ask(key.text) for _ in range(5)], measures.SHADOW_REFUSALS) == {"sm": 3}


def test_a_limit_in_shadow_is_not_counted_for_the_one_that_refused(ask, catalogue, account):
    catalogue(
        """
        default_plan = "free"
        [models.sm]
        [plans.free]
        models = ["sm"]
        limits = [
          { name = "day", per = "key", amount = 9, window = "day", shadow = true },
          { name = "minute", per = "account", amount = 1, window = "minute", unit = "units" },
        ]
        [plans.pro]
        models = ["*"]
        """
    )
    key = issue_key(account, name="k", actor=ACTOR)
    assert ask(key.text).status == 200
    assert raised(lambda: ask(key.text), measures.OVER_LIMIT) == {"account minute units": 1}


def test_where_the_facts_of_a_key_were_found_is_counted(ask, issued, redis_db, on_a_loop):
    assert raised(lambda: ask(issued.text), measures.FACTS) == {"redis": 1}
    assert raised(lambda: ask(issued.text), measures.FACTS) == {"process": 1}
    redis_db.flushdb()
    assert raised(lambda: ask(issued.text), measures.FACTS) == {"process": 1, "database": 1}
    stranger = new_key(new_key_id(issued.key.public_id[:8]), "ask", peppers()[0]).text
    assert raised(lambda: ask(stranger), measures.FACTS) == {"nowhere": 1}


def test_who_only_looks_is_in_no_metric_of_calls(issued, redis_db):
    def look():
        for key_id in (issued.key.public_id, new_key_id(issued.key.public_id[:8])):
            explain(Scenario(key_id=key_id, model="sm"))
            look_at_limits(key_id, "sm")

    for metric in (measures.FACTS, measures.DECISIONS, measures.DECISION_TIME):
        assert raised(look, metric) == {}
        redis_db.flushdb()  # the next look asks the database


def test_batches_to_redis_are_measured(ask, issued):
    ask(issued.text)
    assert raised(lambda: ask(issued.text), measures.BATCH_SIZE) == {"1.0": 1, "sum": 1}
    times = raised(lambda: ask(issued.text), measures.BATCH_TIME)
    assert times.pop("sum") > 0
    assert sum(times.values()) == 1


def test_an_error_of_redis_is_a_failure_of_its_own(ask, issued, redis_db):
    ask(issued.text)
    usage = names.usage(issued.key.public_id, "sm", clock.hour())
    redis_db.delete(usage)
    redis_db.set(usage, "of the wrong type")
    assert raised(lambda: ask(issued.text), measures.REDIS_FAILURES) == {"refused": 1}


def open_breakers() -> int:
    return replica.totals()[f"{replica.GAUGE}{measures.BREAKERS_OPEN.name}"]


def test_a_broken_connection_to_redis_is_seen_until_it_is_mended(issued, on_a_loop):
    from authsvc.gate.app import close_gate, gate

    async def break_and_mend() -> None:
        pipe = gate().lookup.link._pipe
        await until(lambda: pipe._connection is not None, "connecting")
        closed = open_breakers()
        pipe.drop("for a test")
        assert open_breakers() == closed + 1
        await until(lambda: not pipe.is_broken, "mending")
        assert open_breakers() == closed

    assert raised(lambda: on_a_loop(break_and_mend()), measures.REDIS_FAILURES) == {"lost": 1}
    assert raised(lambda: on_a_loop(close_gate()), measures.REDIS_FAILURES) == {}


def test_a_gate_that_is_closed_while_redis_is_away_leaves_no_open_breaker(settings, on_a_loop):
    from authsvc.gate.app import close_gate, gate

    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def fail_and_close() -> None:
        closed = open_breakers()
        pipe = gate().lookup.link._pipe
        await until(lambda: pipe.is_broken, "failing")
        assert open_breakers() == closed + 1
        await close_gate()
        assert open_breakers() == closed

    assert raised(lambda: on_a_loop(fail_and_close()), measures.REDIS_FAILURES)["connect"] >= 1
