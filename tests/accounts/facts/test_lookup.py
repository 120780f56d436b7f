"""Look-ups: few threads ask the database, few may wait for those, and nothing is asked twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from threading import Event
from typing import cast

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError, connection

from accounts.facts import lookup as module
from accounts.facts import snapshot
from accounts.facts.facts import SecretFacts
from accounts.facts.known import HeldKey
from accounts.facts.lookup import DATABASE_THREADS, MOST_WAITING, FactsUnavailable, Lookup, Onlooker
from accounts.keys import PresentedKey
from accounts.peppers import peppers
from accounts.services.keys import change_key
from quotas import deployment
from store import names, pipe
from store.clients import StoreRefused
from store.commands import command
from store.link import close_link, link
from tests.conftest import ACTOR
from tests.servers import until

pytestmark = pytest.mark.django_db(transaction=True)


def test_who_comes_when_many_wait_for_the_database_is_refused_at_once(redis_db, on_a_loop):
    """A database that hangs must not make the gate's memory grow with each cold key that is asked about."""

    async def run() -> None:
        lookup, hanging = Lookup(link(), peppers()), Event()
        try:
            waiting = [asyncio.ensure_future(lookup._database(hanging.wait)) for _ in range(MOST_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(FactsUnavailable, match="too many"):
                await lookup._database(lambda: 1)
            hanging.set()
            assert all(await asyncio.gather(*waiting))
            assert await lookup._database(lambda: 1) == 1  # there is room again
        finally:
            hanging.set()
            lookup.close()

    assert MOST_WAITING > DATABASE_THREADS
    on_a_loop(run())


@pytest.fixture
def looking(on_a_loop, redis_db):
    """Run a test with a look-up."""

    def run(test: Callable[[Lookup], Awaitable[None]], kind: type[Lookup] = Lookup) -> None:
        async def with_lookup() -> None:
            lookup = kind(link(), peppers())
            try:
                await test(lookup)
            finally:
                lookup.close()
                await close_link()

        on_a_loop(with_lookup())

    return run


@pytest.fixture
def reads(monkeypatch):
    """The keys that were read from the database."""
    read: list[str] = []
    read_all = snapshot.read_all

    def note(public_id: str):
        read.append(public_id)
        return read_all(public_id)

    monkeypatch.setattr(snapshot, "read_all", note)
    return read


def test_a_database_that_hangs_is_waited_for_only_so_long(looking, monkeypatch):
    monkeypatch.setattr(module, "DATABASE_SECONDS", 0.01)

    async def test(lookup: Lookup) -> None:
        hanging = Event()
        try:
            with pytest.raises(FactsUnavailable, match="in time"):
                await lookup._database(lambda: hanging.wait(20))
            assert lookup._in_database == 1  # its thread is still busy, and one less is left for others
        finally:
            hanging.set()
        await until(lambda: not lookup._in_database)

    looking(test)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OperationalError("gone"), FactsUnavailable),
        (ObjectDoesNotExist("there is no catalogue yet"), FactsUnavailable),
        (ZeroDivisionError(), ZeroDivisionError),  # a fault of ours
    ],
)
def test_a_database_that_cannot_tell_is_no_fault_of_the_gate(looking, error, raised):
    def fail() -> None:
        raise error

    async def test(lookup: Lookup) -> None:
        with pytest.raises(raised):
            await lookup._database(fail)
        assert await lookup._database(lambda: 1) == 1

    looking(test)


def test_the_database_has_less_time_than_the_decision_that_waits_for_it(real_deadlines):
    assert 0 < module.DATABASE_SECONDS < pipe.DECISION_SECONDS < 1


@pytest.mark.parametrize("ask", [lambda found, key: found.load(key), lambda found, key: found.without_redis(key, 9)])
def test_many_who_need_the_same_key_at_once_share_one_look_up(looking, issued, reads, ask):
    key = issued.key.public_id

    async def test(lookup: Lookup) -> None:
        found = await asyncio.gather(*(ask(lookup, key) for _ in range(20)))
        assert {held.known.key.public_id for held in found} == {key}
        assert reads == [key]
        lookup.cache.clear()
        await ask(lookup, key)
        assert reads == [key, key]  # what has ended is not shared any more

    looking(test)


def test_a_decision_that_is_given_up_takes_the_look_up_from_nobody_else(looking, issued, reads):
    key = issued.key.public_id

    async def test(lookup: Lookup) -> None:
        given_up, patient = (asyncio.ensure_future(lookup.load(key)) for _ in range(2))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await patient is not None
        assert reads == [key]

    looking(test)


def test_a_string_that_cannot_be_verified_shares_no_look_up_with_one_that_can(looking, issued, redis_db):
    """It may be made up, so it never asks the database; and nobody is refused because somebody makes up strings."""
    verified = PresentedKey(issued.key.public_id, b"", peppers()[0], b"")
    unverified = PresentedKey(issued.key.public_id, b"", None, b"")

    async def test(lookup: Lookup) -> None:
        for order in ([unverified, verified], [verified, unverified]):
            redis_db.flushdb()
            found = await asyncio.gather(*map(lookup.find, order), return_exceptions=True)
            assert isinstance(found[order.index(unverified)], FactsUnavailable)
            assert isinstance(found[order.index(verified)], HeldKey)

    looking(test)


def test_a_key_that_was_unknown_a_moment_ago_is_known_once_it_is_published(looking, issued, redis_db):
    presented = PresentedKey(issued.key.public_id, b"", peppers()[0], b"")
    redis_db.set(names.unknown(issued.key.public_id), 1, ex=60)

    async def test(lookup: Lookup) -> None:
        assert await lookup.find(presented) is not None

    looking(test)


def test_facts_in_redis_older_than_their_version_are_read_from_the_database(looking, issued, redis_db, reads):
    key = issued.key.public_id
    account, field = names.account(key[:8]), names.field(names.FACTS, key)

    async def test(lookup: Lookup) -> None:
        held = await lookup.load(key)
        assert held is not None
        in_force = held.known.versions._replace(key=held.known.versions.key + 1)
        old = redis_db.hget(account, field)
        await asyncio.to_thread(_change, issued.key)
        redis_db.hset(account, field, old)
        reads.clear()
        renewed = await lookup.renew(held.known, in_force)
        assert renewed is not None and renewed.known.versions == in_force
        assert reads == [key]

    looking(test)


def _change(key) -> None:
    try:
        change_key(key, methods=["POST"], actor=ACTOR)
    finally:
        connection.close()


def test_a_catalogue_that_comes_late_replaces_no_later_one(looking, issued):
    async def test(lookup: Lookup) -> None:
        held = await lookup.load(issued.key.public_id)
        assert held is not None
        catalogue = held.known.catalogue
        later = replace(catalogue, version=catalogue.version + 1)
        for learnt in (later, catalogue):
            lookup._learn(learnt)
            assert lookup.catalogue is later

    looking(test)


def test_without_redis_facts_from_the_database_count_for_a_lease_too(looking, issued, reads):
    key = issued.key.public_id

    async def test(lookup: Lookup) -> None:
        for lease, number in ((1000.0, 1), (1000.0, 1), (-1.0, 2), (1000.0, 2)):
            assert await lookup.without_redis(key, lease) is not None
            assert len(reads) == number

    looking(test)


def test_a_key_that_is_used_stays_and_the_one_unused_for_longest_goes(looking):
    async def test(lookup: Lookup) -> None:
        third, held = lookup.cache._most // 3, cast(HeldKey, object())
        for key in "abc":
            lookup.cache.keep(key, held, third)
        assert lookup.recall("a") is held
        lookup.cache.keep("d", held, third)
        assert list(lookup.cache.entries) == ["c", "a", "d"]

    looking(test)


@pytest.mark.parametrize("kind", [Lookup, Onlooker])
def test_a_digest_under_the_new_pepper_is_left_once_by_a_gate_and_never_by_an_onlooker(looking, redis_db, kind):
    secret, key = SecretFacts(7, b"", "old", None), PresentedKey("A" * 16, b"body", peppers()[0], b"")
    place = names.new_digests("AA")

    async def test(lookup: Lookup) -> None:
        async def use() -> str | None:
            lookup.keep_new_digest(secret, key)
            await lookup.link.ask("AA", command("PING"))  # it is answered after what was sent before
            left = redis_db.hget(place, "7") if redis_db.type(place) == "hash" else None
            redis_db.delete(place)
            return left

        redis_db.set(place, "of the wrong type")
        found = [await use() for _ in range(3)]
        digest = f"{peppers()[0].id}:{key.digest_with(peppers()[0]).hex()}"
        assert found == ([None, digest, None] if kind is Lookup else [None] * 3)

    looking(test, kind)


def test_only_so_many_secrets_are_remembered_as_left(looking):
    key = PresentedKey("A" * 16, b"body", peppers()[0], b"")

    async def test(lookup: Lookup) -> None:
        lookup._most_redigested = 3
        for number in range(10):
            lookup.keep_new_digest(SecretFacts(number, b"", "old", None), key)
            await lookup.link.ask("AA", command("PING"))
            assert len(lookup._redigested) <= 3

    looking(test)


def test_a_digest_that_cannot_be_left_now_fails_no_decision(looking, monkeypatch):
    secret, key = SecretFacts(7, b"", "old", None), PresentedKey("A" * 16, b"body", peppers()[0], b"")

    def refuse(*_: object) -> None:
        raise StoreRefused("too many commands wait for redis")

    async def test(lookup: Lookup) -> None:
        monkeypatch.setattr(lookup.link, "send", refuse)
        lookup.keep_new_digest(secret, key)
        assert not lookup._redigested  # the next use tries again

    looking(test)


def test_a_gate_begins_without_knowing_which_deployment_it_is(looking, monkeypatch, caplog):
    def fail() -> None:
        raise OperationalError("gone")

    async def test(lookup: Lookup) -> None:
        monkeypatch.setattr(deployment, "known", fail)
        watching = await lookup.know_whose()
        watching.cancel()
        assert lookup.deployment is None
        assert "cannot tell yet" in caplog.text

    looking(test)
