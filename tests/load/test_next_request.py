"""The first request sent after a change was reported done is judged by it: under load, in every worker, 100 times."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.facts import delivery
from accounts.facts.snapshot import read_all
from accounts.models import Account, ApiKey, OutboxRow
from accounts.services.accounts import move_account
from accounts.services.keys import Issued, issue_key, pause_key, resume_key, revoke_key
from quotas.models import Plan
from store import clients
from tests.accounts.forms import send
from tests.conftest import ACTOR, CATALOGUE
from tests.gate.test_fronts import environment
from tests.load.client import Connection, Load, ask_every_worker
from tests.load.packing import packed
from tests.servers import ROOT, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

TIMES = 100
LOAD = 58  # connections beside the ones that are looked at
GENEROUS = CATALOGUE.replace(
    'amount = 50, window = "second", burst = 100', 'amount = 1000000, window = "second"'
).replace('models = ["*"]', 'models = ["*"]\n    max_keys = 10000')


@pytest.fixture(autouse=True)
def _generous(catalogue):
    catalogue(GENEROUS)


async def hold(port: int, requests: list[bytes], number: int = 6) -> list[Connection]:
    """Connections that have asked before, so each worker has the facts in its memory."""
    connections = [Connection(port) for _ in range(number)]
    for connection in connections:
        for request in requests:
            assert await connection.judged(request) == 200
    return connections


async def close_all(connections: list[Connection]) -> None:
    await asyncio.gather(*(connection.close() for connection in connections))


async def first_after(port: int, connections: list[Connection], change: Callable[[], Any], request: bytes) -> list[int]:
    """The statuses of the first request on each connection, sent after the change has said done."""
    await sync_to_async(change)()
    assert not await OutboxRow.objects.aexists(), "it said done and was not"
    return list(await asyncio.gather(*(connection.judged(request) for connection in connections)))


def under_load(port: int, noise: str, change: Callable[[ApiKey], Any], keys: list[Issued]) -> set[int]:
    """All statuses seen on first requests after changes of these keys, one after another, with other traffic beside."""

    async def run() -> set[int]:
        seen: set[int] = set()
        async with Load(port, [packed(noise)], connections=LOAD):
            for issued in keys:
                request = packed(issued.text)
                connections = await hold(port, [request], 4)
                seen |= set(await first_after(port, connections, partial(change, issued.key), request))
                await close_all(connections)
        return seen

    return asyncio.run(run())


@pytest.fixture
def many(pro_account) -> list[Issued]:
    return [issue_key(pro_account, name=str(n), actor=ACTOR) for n in range(TIMES)]


def in_the_admin(operator: Client, row: Account | ApiKey, page: str = "change", **filled: Any) -> None:
    """Fill in one of the admin's forms and send it; a redirect says that it was accepted."""
    response = send(operator, reverse(f"admin:accounts_{row._meta.model_name}_{page}", args=[row.pk]), **filled)
    assert response.status_code == 302


def test_revoking_by_the_command(gate_port, pro_key, many):
    def revoke(key: ApiKey) -> None:
        call_command("revoke_key", key.public_id, stdout=StringIO())

    assert under_load(gate_port, pro_key.text, revoke, many) == {401}


def test_narrowing_in_the_admin(gate_port, pro_key, many, operator):
    assert under_load(gate_port, pro_key.text, lambda key: in_the_admin(operator, key, models=["lg"]), many) == {403}


def test_suspending_and_resuming_in_the_admin(gate_port, pro_key, account, operator):
    key = issue_key(account, name="k", actor=ACTOR)
    move_account(account, Plan.objects.get(name="pro"), actor=ACTOR)
    assert back_and_forth(
        gate_port,
        pro_key.text,
        key.text,
        lambda: in_the_admin(operator, account, "suspend"),
        lambda: in_the_admin(operator, account, "resume"),
    ) == ({403}, {200})


def test_moving_the_account_s_plan(gate_port, pro_key, account):
    key = issue_key(account, name="k", actor=ACTOR)
    pro, free = Plan.objects.get(name="pro"), Plan.objects.get(name="free")
    large = packed(key.text, "/auth/?model=lg", x_forwarded_uri="/v1/large/x")
    move_account(account, pro, actor=ACTOR)
    assert back_and_forth(
        gate_port,
        pro_key.text,
        large,
        lambda: move_account(account, free, actor=ACTOR),
        lambda: move_account(account, pro, actor=ACTOR),
    ) == ({403}, {200})


def test_editing_the_plan_and_disabling_the_model_by_apply_catalogue(gate_port, pro_key, tmp_path):
    def write(text: str) -> Callable[[], Any]:
        path = tmp_path / f"{abs(hash(text))}.toml"
        path.write_text("\n".join(line.strip() for line in text.splitlines()))
        return lambda: call_command("apply_catalogue", str(path), stdout=StringIO())

    without_lg = GENEROUS.replace('models = ["*"]', 'models = ["sm"]')
    disabled = GENEROUS.replace("cost = 5", "cost = 5\nenabled = false")
    large = packed(pro_key.text, "/auth/?model=lg", x_forwarded_uri="/v1/large/x")
    for worse in (without_lg, disabled):
        assert back_and_forth(gate_port, pro_key.text, large, write(worse), write(GENEROUS), TIMES // 2) == (
            {403},
            {200},
        )


def back_and_forth(
    port: int, noise: str, asked: str | bytes, worse: Callable[[], Any], better: Callable[[], Any], times: int = TIMES
) -> tuple[set[int], set[int]]:
    """What first requests get after each change for the worse, and after each for the better."""
    request = packed(asked) if isinstance(asked, str) else asked

    async def run() -> tuple[set[int], set[int]]:
        refused: set[int] = set()
        allowed: set[int] = set()
        async with Load(port, [packed(noise)], connections=LOAD):
            connections = await hold(port, [request])
            for _ in range(times):
                refused |= set(await first_after(port, connections, worse, request))
                allowed |= set(await first_after(port, connections, better, request))
            await close_all(connections)
        return refused, allowed

    return asyncio.run(run())


def test_pausing_and_resuming(gate_port, pro_key, many):
    key = many[0].key
    assert back_and_forth(
        gate_port,
        pro_key.text,
        many[0].text,
        lambda: pause_key(key, actor=ACTOR),
        lambda: resume_key(key, actor=ACTOR),
    ) == ({401}, {200})


def test_revoking_while_the_key_is_refilled_a_thousand_times(gate_port, pro_key, many):
    """Old facts, read before the revocation, are published again and again: they never replace newer ones."""
    old = {issued.key.public_id: read_all(issued.key.public_id) for issued in many[:5]}

    def refill(public_id: str) -> None:
        found = old[public_id]
        assert found.key and found.account
        for _ in range(1000):
            delivery.send(
                [delivery.account_command(public_id[:8], found.account), *delivery.key_commands(public_id, found.key)]
            )

    async def run() -> set[int]:
        seen: set[int] = set()
        for issued in many[:5]:
            request = packed(issued.text)
            connections = await hold(gate_port, [request], 4)
            refilling = asyncio.create_task(sync_to_async(refill, thread_sensitive=False)(issued.key.public_id))
            seen |= set(
                await first_after(gate_port, connections, partial(revoke_key, issued.key, actor=ACTOR), request)
            )
            await refilling
            seen |= set(await asyncio.gather(*(connection.judged(request) for connection in connections)))
            clients.sync_client().delete(f"{{{issued.key.public_id[:2]}}}:a:{issued.key.public_id[:8]}")
            seen |= set(await asyncio.gather(*(connection.judged(request) for connection in connections)))
            await close_all(connections)
        return seen

    assert asyncio.run(run()) == {401}


KILLED_WRITER = """
import django, os, signal, sys
django.setup()
from accounts.facts import delivery
from accounts.models import ApiKey
from accounts.services.acts import Actor
from accounts.services.keys import revoke_key

delivery.deliver = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
revoke_key(ApiKey.objects.get(public_id=sys.argv[1]), actor=Actor("killed"))
"""


def test_a_writer_that_is_killed_before_publishing_leaves_a_change_that_the_worker_delivers(gate_port, pro_key):
    request = packed(pro_key.text)
    env = {**os.environ, **environment()}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, pro_key.key.public_id], cwd=ROOT, env=env, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    pro_key.key.refresh_from_db()
    assert pro_key.key.revoked_at is not None
    assert OutboxRow.objects.count() == 1  # pending: committed, and not published
    assert asyncio.run(ask_every_worker(gate_port, request)) == {200}
    call_command("keep_ledger", once=True, stdout=StringIO())
    assert OutboxRow.objects.count() == 0
    assert asyncio.run(ask_every_worker(gate_port, request)) == {401}


def test_a_change_while_redis_is_away_is_pending_and_published_within_a_second_of_its_return(
    pro_key, settings, tmp_path, monkeypatch
):
    from quotas.management.commands.keep_ledger import PAUSE_SECONDS
    from tests.servers import redis_server

    assert PAUSE_SECONDS < 1
    directory = tmp_path / "r"
    directory.mkdir()
    settings.REDIS_URL = f"unix://{directory}/redis.sock"
    clients.sync_client.cache_clear()
    try:
        assert revoke_key(pro_key.key, actor=ACTOR).is_pending
        assert OutboxRow.objects.count() == 1
        with redis_server(directory):
            env = {**os.environ, **environment(), "REDIS_URL": settings.REDIS_URL}
            with subprocess.Popen(
                [sys.executable, "manage.py", "keep_ledger"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL
            ) as worker:
                wait_until(lambda: OutboxRow.objects.count() == 0, "the worker delivering")
                worker.terminate()
                assert worker.wait(10) == 0
    finally:
        clients.sync_client.cache_clear()
