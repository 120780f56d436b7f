"""Writers and workers that are killed at every step: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
import signal
import time

import pytest

from accounts.models import ApiKey, AuditEvent, OutboxRow
from quotas.models import UsageDay, UsageHour
from tests.faults.house import House
from tests.servers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

KILLING = """
import django, importlib, os, signal, sys
django.setup()
where, name, when = sys.argv[1:4]
module = importlib.import_module(where)
original = getattr(module, name)

def killing(*args, **kwargs):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(module, name, killing)
"""

REVOKING = (
    KILLING
    + """
from accounts.models import ApiKey
from accounts.services.acts import Actor
from accounts.services.keys import revoke_key
revoke_key(ApiKey.objects.get(public_id=sys.argv[4]), actor=Actor("killed"))
"""
)

COPYING = (
    KILLING
    + """
from accounts.ledger_worker import Worker
Worker().turn()
"""
)

# Where a change is killed, and whether it is committed then.
STEPS_OF_A_CHANGE = [
    ("accounts.services.keys", "record_change", "before", False),
    ("accounts.services.keys", "record_change", "after", False),
    ("accounts.facts.publish", "deliver_parts", "before", True),
    ("accounts.facts.snapshot", "read_all", "after", True),
    ("accounts.facts.delivery", "send", "before", True),
    ("accounts.facts.delivery", "send", "after", True),
    ("accounts.facts.delivery", "_wait_for_replicas", "after", True),
    ("accounts.facts.publish", "deliver_parts", "after", True),
]

STEPS_OF_A_COPY = [
    ("quotas.usage.ledger", "_read", "after"),
    ("quotas.usage.ledger", "keep_hours", "before"),
    ("quotas.usage.ledger", "keep_hours", "after"),
    ("quotas.usage.ledger", "_forget", "after"),
    ("accounts.ledger_worker", "copy_usage", "after"),
    ("accounts.ledger_worker", "note_last_uses", "after"),
]


@pytest.mark.parametrize(("where", "name", "when", "is_committed"), STEPS_OF_A_CHANGE)
def test_a_writer_killed_in_a_change(house: House, pro_key, where, name, when, is_committed):
    house.start_gates()
    house.wait_for(pro_key.text, 200)
    assert house.run(REVOKING, where, name, when, pro_key.key.public_id) == -signal.SIGKILL

    house.start_worker()
    wait_until(lambda: not OutboxRow.objects.exists(), "the worker delivering")
    house.wait_for(pro_key.text, 401 if is_committed else 200)
    key = ApiKey.objects.get(public_id=pro_key.key.public_id)
    assert (key.revoked_at is not None) == is_committed
    assert AuditEvent.objects.filter(act="key.revoke").count() == int(is_committed)


@pytest.mark.parametrize(("where", "name", "when"), STEPS_OF_A_COPY)
def test_a_worker_killed_in_a_copy(house: House, pro_key, where, name, when):
    house.start_gates()
    house.wait_for(pro_key.text, 200)
    assert house.statuses(pro_key.text, 29) == {200: 29}
    assert house.run(COPYING, where, name, when) == -signal.SIGKILL
    assert house.statuses(pro_key.text, 10) == {200: 10}

    house.start_worker()
    wait_until(lambda: counted() == 40, "everything counted")
    assert days() == 40


def test_workers_that_are_killed_at_random_beside_each_other_count_every_call_once(house: House, pro_key):
    house.start_gates()
    house.wait_for(pro_key.text, 200)
    allowed, chance = 1, random.Random(7)
    for _ in range(4):
        workers = [house.start_worker(), house.start_worker()]
        allowed += house.statuses(pro_key.text, 30)[200]
        time.sleep(chance.random() * 2)  # wherever they are then
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
    house.start_worker()
    wait_until(lambda: counted() >= allowed, "everything counted")
    assert (counted(), days()) == (allowed, allowed)


def counted() -> int:
    return sum(UsageHour.objects.values_list("allowed", flat=True))


def days() -> int:
    return sum(UsageDay.objects.values_list("allowed", flat=True))
