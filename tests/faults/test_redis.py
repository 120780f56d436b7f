"""Redis killed, stopped, emptied, full, read-only, locked: with real processes. docs/operations.md says what to do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import pytest
import redis

from accounts.models import OutboxRow
from accounts.services.accounts import create_account
from accounts.services.keys import issue_key, revoke_key
from quotas.models import Plan, UsageHour
from store import names
from tests.conftest import ACTOR, CATALOGUE
from tests.faults.house import House
from tests.servers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True)]

ROUNDS = int(os.environ.get("AUTHSVC_TEST_FAULT_ROUNDS", "2"))  # of a Redis that loses everything
QUOTA = 150 + 25 * ROUNDS
WITH_QUOTA = CATALOGUE.replace(
    '{ name = "second", per = "account", amount = 50, window = "second", burst = 100 }',
    f'{{ name = "day", per = "account", amount = {QUOTA}, window = "day" }}',
)


def seconds_of(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@pytest.mark.timed
@pytest.mark.slow
def test_a_stopped_redis_costs_one_wait_and_no_more(house, issued):
    """With the product's own deadlines: 250 ms for the first, a few for the next, two seconds to be back."""
    house.env["DJANGO_SETTINGS_MODULE"] = "authsvc.settings"
    house.env["WEB_CONCURRENCY"] = "1"
    house.start_gates()
    house.wait_for(issued.text, 200)

    house.redis_process.send_signal(signal.SIGSTOP)
    answers = []
    first = seconds_of(lambda: answers.append(house.ask(issued.text)))
    next_ones = [seconds_of(lambda: answers.append(house.ask(issued.text))) for _ in range(50)]
    house.redis_process.send_signal(signal.SIGCONT)
    back = seconds_of(lambda: house.wait_for(issued.text, 200))

    assert {answer.status for answer in answers} == {503}
    assert {answer.getheader("Retry-After") for answer in answers} == {"1"}
    assert first < 0.35  # of which 250 ms are the gate's; the rest is a connection's and a busy machine's
    assert median(next_ones) < 0.005
    assert back < 2
    assert house.log().count("redis is back") == 1


@pytest.mark.slow
def test_a_redis_that_loses_everything_forgets_no_quota_and_no_revocation(house, catalogue, redis_db):
    catalogue(WITH_QUOTA)
    account = create_account("acme", Plan.objects.get(name="pro"), external_id="acme-1", actor=ACTOR)[0]
    issued, revoked = (issue_key(account, name=name, actor=ACTOR) for name in ("good", "revoked"))
    house.start_gates()
    house.start_worker()
    house.wait_for(revoked.text, 200)
    revoke_key(revoked.key, actor=ACTOR)
    assert house.ask(revoked.text).status == 401
    used = 1

    for _ in range(ROUNDS):
        assert house.statuses(issued.text, 20) == {200: 20}
        used += 20
        _until_counted(used)
        house.kill_redis()
        assert house.ask(issued.text).status == 503
        house.start_redis()
        while (status := house.ask(issued.text).status) != 200:
            assert status == 503
        used += 1
        assert house.statuses(revoked.text, 10).keys() <= {401, 503}
        wait_until(lambda: house.redis().exists(names.LIFE) == 1, "the worker refilling")
        assert house.ask(revoked.text).status == 401

    house.wait_for(issued.text, 200)
    used += 1
    # What is left is what was left, to the call.
    assert house.statuses(issued.text, QUOTA) == {200: QUOTA - used, 429: used}


def _until_counted(calls: int) -> None:
    wait_until(lambda: counted() == calls, "the worker copying")


def counted() -> int:
    return sum(UsageHour.objects.values_list("allowed", flat=True))


class Trouble(NamedTuple):
    """How a running Redis is broken and mended, what the gate answers, and what readiness tells."""

    shatter: Callable[[redis.Redis], object]
    mend: Callable[[redis.Redis], object]
    status: int
    reason: str


def lock(client: redis.Redis) -> None:
    client.config_set("requirepass", "another")
    client.client_kill_filter(_type="normal", skipme=True)


def unlock(client: redis.Redis) -> None:
    client.auth("another")
    client.config_set("requirepass", "")


TROUBLES = {
    "full": Trouble(
        lambda client: client.config_set("maxmemory", "1"),
        lambda client: client.config_set("maxmemory", "0"),
        503,
        "full",
    ),
    "read-only": Trouble(
        lambda client: client.replicaof("127.0.0.1", "1"),
        lambda client: client.replicaof("NO", "ONE"),
        503,
        "replica",
    ),
    "wrong password": Trouble(lock, unlock, 503, "NOAUTH"),
    "without scripts": Trouble(
        lambda client: client.acl_setuser("default", commands=["-eval", "-evalsha"]),
        lambda client: client.acl_setuser("default", commands=["+eval", "+evalsha"]),
        503,
        "NOPERM",
    ),
    "evicting": Trouble(
        lambda client: client.config_set("maxmemory-policy", "allkeys-lru"),
        lambda client: client.config_set("maxmemory-policy", "noeviction"),
        200,
        "allkeys-lru",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_a_redis_that_refuses_is_told_by_readiness_and_recovered_from(house: House, pro_key, trouble: Trouble):
    house.start_gates()
    house.wait_for(pro_key.text, 200)
    assert house.readiness() == (200, [])

    with house.redis() as client:
        trouble.shatter(client)
        try:
            house.wait_for(pro_key.text, trouble.status)
            wait_until(lambda: house.readiness()[0] == 503, "readiness noticing")
            (reason,) = house.readiness()[1]
        finally:
            trouble.mend(client)
    assert trouble.reason in reason
    house.wait_for(pro_key.text, 200)
    wait_until(lambda: house.readiness() == (200, []), "readiness recovering")


@pytest.mark.slow
def test_a_replica_promoted_after_a_revocation_that_it_never_got_is_repaired(house, pro_key):
    """The worker publishes recent changes again when it meets another Redis."""
    house.start_gates()
    house.start_worker()
    house.wait_for(pro_key.text, 200)
    wait_until(lambda: house.redis().exists(names.LIFE) == 1, "the worker filling Redis")
    house.redis().save()
    revoke_key(pro_key.key, actor=ACTOR)
    assert not OutboxRow.objects.exists()
    assert house.ask(pro_key.text).status == 401

    house.kill_redis()
    house.start_redis("--dbfilename", "dump.rdb")  # it comes back as it was before the revocation
    house.wait_for(pro_key.text, 401)
    assert house.statuses(pro_key.text, 20) == {401: 20}
