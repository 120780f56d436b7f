"""Limits of keys, accounts and models together, under four gates, four asking processes and 256 connections.

AUTHSVC_TEST_FIRE_SECONDS lengthens it; a million admissions take some minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import StringIO
from typing import NamedTuple

import pytest
from django.core.management import call_command
from django.db.models import Sum

from accounts.models import Account
from accounts.services.accounts import create_account
from accounts.services.keys import issue_key
from quotas.limits import Limit
from quotas.models import Plan, UsageHour
from tests.conftest import ACTOR, CATALOGUE
from tests.gate.test_fronts import environment
from tests.load.client import ask_every_worker
from tests.load.packing import packed
from tests.servers import ROOT, gunicorn, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SECONDS = float(os.environ.get("AUTHSVC_TEST_FIRE_SECONDS", "10"))
PROCESSES, CONNECTIONS, GATES, KEYS = 4, 64, 4, 3
OPEN_KEYS = 27 if SECONDS > 60 else KEYS  # of the account that nothing holds up: a long run is to admit many
SPARE_SECONDS = 60  # for the start of a process, and for the answers that are still to come

QUOTA = 1500  # calls a day, of an account
UNITS = 4000  # units a day, of a model
RATE, BURST = 40, 60  # calls a second of an account
KEYS_RATE, KEYS_BURST = 600, 25  # calls a minute of one key

PLANS = f"""
    [plans.quota]
    models = ["*"]
    limits = [
      {{ name = "day", per = "account", amount = {QUOTA}, window = "day" }},
      {{ name = "minute", per = "key", amount = 1000000, window = "minute", burst = 1000000 }},
    ]

    [plans.units]
    models = ["*"]
    limits = [{{ name = "day", per = "account", amount = {UNITS}, window = "day", unit = "units", model = "lg" }}]

    [plans.rate]
    models = ["*"]
    limits = [{{ name = "second", per = "account", amount = {RATE}, window = "second", burst = {BURST} }}]

    [plans.open]
    models = ["*"]
    limits = [
      {{ name = "day", per = "account", amount = 1000000000, window = "day" }},
      {{ name = "month", per = "key", amount = 1000000000, window = "month" }},
      {{ name = "hour", per = "account", amount = 1000000000, window = "hour", burst = 1000000000 }},
    ]
"""


class Fire(NamedTuple):
    """What was answered to each account's keys, {key's name: statuses}, and how long it took."""

    answered: dict[str, Counter[int]]
    seconds: float

    def admitted(self, plan: str) -> int:
        return sum(count[200] for name, count in self.answered.items() if name.startswith(plan))

    def undecided(self, plan: str) -> int:
        """Questions answered 503: the call may have been counted, as the answer came too late."""
        return sum(count[503] for name, count in self.answered.items() if name.startswith(plan))


@pytest.fixture
def port(redis_db, tmp_path) -> Iterator[int]:
    env = environment() | {"WEB_CONCURRENCY": str(GATES), "AUTHSVC_SERVES": "gate", "AUTHSVC_DRAIN": "0"}
    with gunicorn("authsvc.asgi:application", tmp_path, "-c", "deploy/gunicorn.conf.py", env=env) as (port, _):
        yield port


@pytest.fixture
def accounts(catalogue) -> dict[str, Account]:
    catalogue(CATALOGUE + PLANS)
    return {
        plan: create_account(plan, Plan.objects.get(name=plan), external_id=plan, actor=ACTOR)[0]
        for plan in ("quota", "units", "rate", "open")
    }


@pytest.fixture
def questions(accounts) -> dict[str, bytes]:
    """One of each key of each account; the first key of "open" has a limit of its own."""
    own = [Limit(name="own", scope="key", amount=KEYS_RATE, window="minute", burst=KEYS_BURST)]
    large = {"target": "/auth/?model=lg", "x_forwarded_uri": "/v1/large/x"}
    made = {}
    for plan, account in accounts.items():
        for number in range(OPEN_KEYS if plan == "open" else KEYS):
            limits = own if plan == "open" and number == 0 else []
            key = issue_key(account, name=f"{plan} {number}", limits=limits, actor=ACTOR)
            made[key.key.name] = packed(key.text, **(large if plan == "units" else {}))
    return made


@contextmanager
def asking(port: int, questions: dict[str, bytes]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.load.fire", str(port), str(CONNECTIONS), str(SECONDS)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps({name: question.decode() for name, question in questions.items()}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == "ready"
        yield process
    finally:
        process.kill()
        process.communicate()


def open_fire(port: int, questions: dict[str, bytes]) -> Fire:
    with ExitStack() as stack, ThreadPoolExecutor(PROCESSES) as threads:
        processes = [stack.enter_context(asking(port, questions)) for _ in range(PROCESSES)]
        running_ones = [threads.submit(process.communicate, "now\n", SECONDS + SPARE_SECONDS) for process in processes]
        results = [json.loads(one.result()[0]) for one in running_ones]
    answered: dict[str, Counter[int]] = {name: Counter() for name in questions}
    for result in results:
        for name, counts in result["answered"].items():
            answered[name].update({int(status): count for status, count in counts.items()})
    return Fire(answered, max(result["seconds"] for result in results))


def test_no_limit_admits_more_and_the_ledger_has_every_call(port, accounts, questions, tmp_path):
    for question in questions.values():
        asyncio.run(ask_every_worker(port, question, times=2))
    warm = used(accounts)
    worker = [sys.executable, "manage.py", "keep_ledger"]
    with running(worker, env=os.environ | environment(), log=tmp_path / "worker.log"):  # it copies meanwhile
        fire = open_fire(port, questions)

    admitted, seconds = sum(map(fire.admitted, accounts)), fire.seconds
    sys.stdout.write(
        f"{admitted:,} admitted of {sum(count.total() for count in fire.answered.values()):,} in {seconds:.0f} s\n"
    )
    assert set().union(*fire.answered.values()) <= {200, 429, 503}, fire.answered
    ledger = used(accounts)
    for plan in accounts:
        counted = ledger[plan]["allowed"] - warm[plan]["allowed"]
        assert fire.admitted(plan) <= counted <= fire.admitted(plan) + fire.undecided(plan), (plan, fire)

    # A calendar limit admits exactly its amount.
    assert ledger["quota"]["allowed"] == QUOTA
    assert ledger["units"]["units"] == UNITS
    # A smoothed one never more than its burst and what has drained.
    assert fire.admitted("rate") <= BURST + RATE * fire.seconds + 1
    assert fire.answered["open 0"][200] <= KEYS_BURST + KEYS_RATE / 60 * fire.seconds + 1
    # Others are not held up by any of this.
    assert fire.answered["open 1"][429] == 0
    assert fire.admitted("open") > QUOTA


def used(accounts: dict[str, Account]) -> dict[str, dict[str, int]]:
    """What the ledger has of each account."""
    call_command("keep_ledger", once=True, stdout=StringIO())
    sums = {"allowed": Sum("allowed", default=0), "units": Sum("units", default=0)}
    return {
        plan: UsageHour.objects.filter(account=account.public_id).aggregate(**sums)
        for plan, account in accounts.items()
    }
