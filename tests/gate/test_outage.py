"""Without Redis: deny by default, or allow by setting; calls that passed are then counted once."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.db import OperationalError

from accounts.facts import snapshot
from accounts.services.keys import issue_key, revoke_key
from authsvc.gate import app
from authsvc.gate.app import close_gate, gate
from authsvc.gate.grounds import charge_for
from authsvc.gate.verdict import Verdict
from quotas.buckets import clock
from quotas.owed import Owed
from store import clients, names
from store.clients import StoreUnavailable
from tests.conftest import ACTOR
from tests.deadlines import GENEROUS_SECONDS
from tests.gate.conftest import question, raw
from tests.servers import redis_server, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def outage(settings, tmp_path, transactional_db):
    """A Redis of this test's own, which it may stop and start without losing data."""

    class Outage:
        more = ("--appendonly", "yes", "--appendfsync", "always")

        def start(self) -> None:
            self._server = redis_server(tmp_path, more=self.more)
            self._server.__enter__()

        def stop(self) -> None:
            self._server.__exit__(None, None, None)

    settings.REDIS_URL = f"unix://{tmp_path}/redis.sock"
    clients.sync_client.cache_clear()
    server = Outage()
    server.start()
    yield server
    server.stop()
    clients.sync_client.cache_clear()


async def ask(key: str, **changes: str):
    return await gate().answer("/auth/", b"model=sm", raw(question(key, **changes)))


async def statuses(key: str, number: int = 1) -> list[int]:
    return [(await ask(key)).status for _ in range(number)]


@pytest.fixture
def fresh_catalogue(outage, redis_db, catalogue):
    return catalogue


def test_denying_answers_503_at_once_and_recovers_when_redis_is_back(outage, fresh_catalogue, issued, on_a_loop):
    async def run() -> None:
        assert await statuses(issued.text) == [200]
        await asyncio.to_thread(outage.stop)
        began = time.monotonic()
        answer = await ask(issued.text)
        assert (answer.status, dict(answer.headers)[b"retry-after"]) == (503, b"1")
        assert set(await statuses(issued.text, 200)) == {503}
        assert time.monotonic() - began < GENEROUS_SECONDS / 2  # the breaker: nobody waits for a deadline
        await asyncio.to_thread(outage.start)
        for _ in range(2000):
            if await statuses(issued.text) == [200]:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the gate did not notice that redis is back")

    on_a_loop(run())


def test_allowing_enforces_keys_and_permissions_and_counts_once_later(
    outage, fresh_catalogue, issued, on_a_loop, settings
):
    settings.WHEN_REDIS_IS_DOWN = "allow"
    other = issue_key(issued.key.account, name="other", actor=ACTOR)  # never asked before: from the database

    async def run() -> None:
        gate().open()
        assert await statuses(issued.text) == [200]
        await asyncio.to_thread(outage.stop)
        assert await statuses(issued.text, 20) == [200] * 20  # over its limit of 10: limits are not enforced
        assert await statuses(other.text, 2) == [200] * 2
        answer = await ask(issued.text)
        assert b"ratelimit" not in dict(answer.headers)
        elsewhere = question(issued.text, x_forwarded_uri="/v1/large/x")
        refused, _ = await gate().decide("/auth/", b"model=lg", raw(elsewhere))
        assert (refused.verdict, refused.why) == (Verdict.MODEL_NOT_ALLOWED, "redis is away")
        assert refused.known is not None and refused.known.key.public_id == issued.key.public_id
        assert (await ask(issued.text[:-1] + "_")).status == 401
        await asyncio.to_thread(outage.start)
        client = clients.sync_client()
        account = names.account(issued.key.public_id[:8])
        taken, _, _ = names.counter(issued.key.public_id[:8], "*", "units", "month")
        await until(lambda: client.hget(account, taken) == str(1 + 20 + 2 + 1))
        await until(lambda: not gate().lookup.owed)
        assert client.hget(names.usage(issued.key.public_id, "sm", clock.hour()), "a") == str(1 + 20 + 1)
        await close_gate()

    on_a_loop(run())


def test_debts_are_counted_after_an_outage_longer_than_one_try(
    outage, fresh_catalogue, issued, on_a_loop, settings, monkeypatch
):
    settings.WHEN_REDIS_IS_DOWN = "allow"
    monkeypatch.setattr(app, "REPAY_SECONDS", 0.01)
    vain: list[str] = []
    repay = Owed.repay

    async def repay_and_note(owed, link):
        try:
            return await repay(owed, link)
        except StoreUnavailable as error:
            vain.append(str(error))
            raise

    monkeypatch.setattr(Owed, "repay", repay_and_note)

    async def run() -> None:
        assert await statuses(issued.text) == [200]
        await asyncio.to_thread(outage.stop)
        assert await statuses(issued.text, 5) == [200] * 5
        await until(lambda: len(vain) >= 3)
        await asyncio.to_thread(outage.start)
        usage = names.usage(issued.key.public_id, "sm", clock.hour())
        await until(lambda: clients.sync_client().hget(usage, "a") == "6")
        await until(lambda: not gate().lookup.owed)  # Redis has counted before its acknowledgement is read
        await close_gate()

    on_a_loop(run())


def test_a_fault_of_ours_while_repaying_is_logged_and_repaying_goes_on(
    outage, fresh_catalogue, issued, on_a_loop, settings, monkeypatch, caplog
):
    settings.WHEN_REDIS_IS_DOWN = "allow"
    monkeypatch.setattr(app, "REPAY_SECONDS", 0.01)
    repay, faults = Owed.repay, [ZeroDivisionError(), StoreUnavailable("away")]

    async def fail_first(owed, link):
        if faults:
            raise faults.pop()
        return await repay(owed, link)

    monkeypatch.setattr(Owed, "repay", fail_first)

    async def run() -> None:
        assert await statuses(issued.text) == [200]
        lookup = gate().lookup
        held = lookup.recall(issued.key.public_id)
        assert held is not None
        known = held.known
        lookup.owed.note(charge_for(known, known.catalogue.models["sm"], known.key.secrets[0]), "203.0.113.7")
        await until(lambda: not lookup.owed)
        usage = names.usage(issued.key.public_id, "sm", clock.hour())
        assert clients.sync_client().hget(usage, "a") == "2"
        await close_gate()

    on_a_loop(run())
    assert not faults and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("is_back", [True, False])
def test_a_gate_that_ends_counts_what_it_owes_if_redis_is_back(
    outage, fresh_catalogue, issued, on_a_loop, settings, monkeypatch, is_back
):
    settings.WHEN_REDIS_IS_DOWN = "allow"
    monkeypatch.setattr(app, "REPAY_SECONDS", 3600)

    async def run() -> None:
        assert await statuses(issued.text) == [200]
        await asyncio.to_thread(outage.stop)
        assert [(await ask(issued.text, x_forwarded_for=f"203.0.113.{n}")).status for n in range(3)] == [200] * 3
        (debt,) = gate().lookup.owed._open.values()
        assert (debt.calls, debt.last_used_from) == (3, "203.0.113.2")
        if is_back:
            await asyncio.to_thread(outage.start)
            pipe = gate().lookup.link._pipe
            await until(lambda: not pipe.is_broken)
        await close_gate()  # and ends without an error in any case
        if not is_back:
            await asyncio.to_thread(outage.start)
        usage = names.usage(issued.key.public_id, "sm", clock.hour())
        assert clients.sync_client().hget(usage, "a") == ("4" if is_back else "1")

    on_a_loop(run())


def test_facts_that_are_older_than_the_lease_are_read_again(outage, fresh_catalogue, issued, on_a_loop, settings):
    settings.WHEN_REDIS_IS_DOWN = "allow"
    settings.LEASE_SECONDS = 1000

    async def run() -> None:
        assert await statuses(issued.text) == [200]
        await asyncio.to_thread(outage.stop)
        publication = await asyncio.to_thread(_revoke, issued.key)
        assert publication.is_pending
        assert await statuses(issued.text) == [200]  # within the lease
        settings.LEASE_SECONDS = 0
        assert await statuses(issued.text) == [401]
        await asyncio.to_thread(outage.start)
        await close_gate()

    on_a_loop(run())


def test_a_key_that_neither_redis_nor_the_database_can_tell_of_is_not_called_unknown(
    outage, fresh_catalogue, issued, on_a_loop, settings, monkeypatch
):
    settings.WHEN_REDIS_IS_DOWN = "allow"

    def fail(public_id: str) -> None:
        raise OperationalError("the database is stopped")

    async def run() -> None:
        await asyncio.to_thread(outage.stop)
        with monkeypatch.context() as patch:
            patch.setattr(snapshot, "read_all", fail)
            assert await statuses(issued.text) == [503]
        assert await statuses(issued.text) == [200]
        await asyncio.to_thread(outage.start)
        await close_gate()

    on_a_loop(run())


def _revoke(key):
    from django.db import connection

    try:
        return revoke_key(key, actor=ACTOR)
    finally:
        connection.close()


def test_a_debt_whose_acknowledgement_was_lost_is_counted_once(outage, fresh_catalogue, issued, on_a_loop, monkeypatch):
    async def run() -> None:
        assert await statuses(issued.text) == [200]
        lookup = gate().lookup
        held = lookup.recall(issued.key.public_id)
        assert held is not None
        owed, known = Owed(), held.known
        charge = charge_for(known, known.catalogue.models["sm"], known.key.secrets[0])
        for _ in range(3):
            owed.note(charge, "203.0.113.7")
        ask_redis = lookup.link.ask

        async def lose_the_answer(partition, command):
            await ask_redis(partition, command)
            raise StoreUnavailable("the answer was lost")

        with monkeypatch.context() as patch:
            patch.setattr(lookup.link, "ask", lose_the_answer)
            with pytest.raises(StoreUnavailable):
                await owed.repay(lookup.link)
        assert owed
        await owed.repay(lookup.link)
        assert not owed
        assert clients.sync_client().hget(names.usage(issued.key.public_id, "sm", clock.hour()), "a") == "4"

    on_a_loop(run())


def test_a_redis_that_is_up_but_refuses_does_not_switch_the_limits_off(
    outage, fresh_catalogue, issued, on_a_loop, settings
):
    settings.WHEN_REDIS_IS_DOWN = "allow"

    async def run() -> None:
        assert await statuses(issued.text) == [200]
        client = clients.sync_client()
        client.config_set("maxmemory", 1)
        assert await statuses(issued.text) == [503]
        client.config_set("maxmemory", 0)
        assert await statuses(issued.text) == [200]
        await close_gate()

    on_a_loop(run())
