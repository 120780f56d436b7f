"""Writers and workers that are killed at every step: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
import signal
import time
from io import StringIO

import pytest
from django.core.management import call_command

from accounts.imports.jobs import receive
from accounts.models import Account, ApiKey, AuditEvent, ImportJob, OutboxRow
from accounts.services.accounts import cap_keys
from quotas.models import UsageDay, UsageHour
from tests.conftest import ACTOR
from tests.faults.house import GATE_SECONDS, House
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

IMPORTING = (
    KILLING
    + """
from django.core.management import call_command
from accounts.management.commands import import_keys
import_keys.BATCH = 20
call_command("import_keys", sys.argv[4])
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

# Where an import is killed in its first batch, and whether that is committed then.
STEPS_OF_AN_IMPORT = [
    ("accounts.imports.reading", "insert", "after", False),
    ("accounts.imports.reading", "_write_down", "before", False),
    ("accounts.imports.reading", "_write_down", "after", False),
    ("accounts.facts.publish", "deliver_parts", "before", True),
    ("accounts.facts.delivery", "send", "before", True),
    ("accounts.facts.delivery", "send", "after", True),
    ("accounts.facts.publish", "deliver_parts", "after", True),
]

STEPS_OF_A_JOB = [
    ("accounts.imports.reading", "_write_down", "after"),
    ("accounts.imports.jobs", "import_lines", "after"),
    ("accounts.imports.jobs", "_keep_outcomes", "before"),
    ("accounts.imports.jobs", "_keep_outcomes", "after"),
    ("accounts.facts.delivery", "send", "after"),
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


def lines_of(account: Account) -> list[str]:
    return ["account,name,key\n", *(f"{account.public_id},n,sk-other-{number:012d}\n" for number in range(50))]


def is_imported_once() -> bool:
    """Each of the 50 keys has its rows once, and nothing waits to be published."""
    imported = ApiKey.objects.filter(secrets__is_imported=True)
    told = AuditEvent.objects.filter(act="key.import").values_list("subject", flat=True)
    return sorted(told) == sorted(imported.values_list("public_id", flat=True)) and len(told) == 50


@pytest.mark.parametrize(("where", "name", "when", "is_committed"), STEPS_OF_AN_IMPORT)
def test_an_import_that_was_killed_is_run_again(house: House, pro_account, tmp_path, where, name, when, is_committed):
    cap_keys(pro_account, 1000, actor=ACTOR)
    file = tmp_path / "keys.csv"
    file.write_text("".join(lines_of(pro_account)))
    assert house.run(IMPORTING, where, name, when, str(file)) == -signal.SIGKILL
    assert ApiKey.objects.count() == (20 if is_committed else 0)

    call_command("import_keys", str(file), stdout=(told := StringIO()), stderr=StringIO())
    imported, there = (30, 20) if is_committed else (50, 0)
    assert told.getvalue() == f"50 lines: {imported} imported, {there} already imported, 0 refused\n"
    assert is_imported_once()
    _all_are_let_in(house)


@pytest.mark.parametrize(("where", "name", "when"), STEPS_OF_A_JOB)
def test_a_worker_killed_in_an_upload(house: House, pro_account, where, name, when):
    cap_keys(pro_account, 1000, actor=ACTOR)
    job = receive(lines_of(pro_account), actor=ACTOR, account=pro_account, dry_run=False)
    assert house.run(COPYING, where, name, when) == -signal.SIGKILL

    house.start_worker()
    wait_until(lambda: ImportJob.objects.filter(state="done").exists(), "the import's end", seconds=GATE_SECONDS)
    job.refresh_from_db()
    assert (job.imported, job.already_there, job.refused) == (50, 0, 0)
    assert list(job.rows.values_list("number", "outcome")) == [(number, "imported") for number in range(2, 52)]
    assert is_imported_once()
    _all_are_let_in(house)


def _all_are_let_in(house: House) -> None:
    """After a worker's turn, which publishes what a killed writer left."""
    house.start_worker()
    wait_until(lambda: not OutboxRow.objects.exists(), "the worker delivering", seconds=GATE_SECONDS)
    house.start_gates(AUTHSVC_IMPORTED_KEYS="1")
    for number in (0, 19, 20, 49):
        house.wait_for(f"sk-other-{number:012d}", 200)


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
