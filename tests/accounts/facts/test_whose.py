"""A process uses what Redis holds only while Redis is known to be its deployment's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import cast

import pytest

from accounts.facts import whose as module
from accounts.facts.lookup import Lookup
from accounts.facts.whose import TRUSTED_SECONDS, Whose
from accounts.keys import KeyReader, Pepper, PresentedKey, digest_imported
from accounts.peppers import peppers
from quotas import deployment
from store import names
from store.clients import StoreRefused, StoreUnavailable
from store.link import Link, close_link, link

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def looking(on_a_loop, issued, redis_db, settings):
    """Run a test with a look-up that holds the key, and the key as it is presented."""
    ours = deployment.own()
    redis_db.set(names.DEPLOYMENT, ours)
    presented = KeyReader(settings.KEY_PREFIX, peppers()).read(issued.text.encode())
    assert isinstance(presented, PresentedKey)

    def run(test) -> None:
        async def with_lookup() -> None:
            lookup = Lookup(link(), peppers())
            try:
                await lookup._whose.learn()
                assert await lookup.find(presented) is not None
                await test(lookup, presented)
            finally:
                lookup.close()
                await close_link()

        on_a_loop(with_lookup())

    return run


def age(lookup: Lookup, seconds: float) -> None:
    """As if Redis had been found to be ours so long ago."""
    lookup._whose._trusted_at = monotonic() - seconds


def test_redis_is_trusted_for_ten_seconds(looking):
    async def test(lookup: Lookup, _) -> None:
        age(lookup, TRUSTED_SECONDS - 5)
        assert lookup._whose.is_certain
        age(lookup, TRUSTED_SECONDS)
        assert not lookup._whose.is_certain

    looking(test)


def test_facts_are_taken_from_redis_alone_only_while_it_is_trusted(looking):
    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        soon = monotonic() + 20
        assert await lookup.recall_from_redis(presented, soon) is not None
        age(lookup, TRUSTED_SECONDS)
        assert await lookup.recall_from_redis(presented, soon) is None
        await lookup._whose.require_ours()
        assert await lookup.recall_from_redis(presented, soon) is not None

    looking(test)


def test_a_string_whose_check_cannot_be_verified_is_never_taken_from_redis_alone(looking):
    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        unverified = PresentedKey(presented.public_id, b"", None, b"")
        assert await lookup.recall_from_redis(unverified, monotonic() + 20) is None

    looking(test)


def test_everything_is_forgotten_when_redis_turns_out_to_be_anothers_until_it_is_ours_again(looking, redis_db):
    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        lookup._imported.keep(b"digest", presented.public_id, 1)
        ours = redis_db.getset(names.DEPLOYMENT, "another")
        age(lookup, TRUSTED_SECONDS)
        for _ in range(2):
            with pytest.raises(StoreRefused, match="another deployment"):
                await lookup._whose.require_ours()
            assert (lookup.recall(presented.public_id), lookup.catalogue) == (None, None)
            assert not lookup._imported.entries
            assert lookup.link.refusal
        redis_db.set(names.DEPLOYMENT, ours)
        await lookup._whose.require_ours()
        assert (lookup.link.refusal, lookup._whose.is_certain) == ("", True)

    looking(test)


def test_a_foreign_string_is_looked_up_only_in_a_redis_that_is_ours(looking, redis_db):
    text = b"sk-of-another-system-0123456789"

    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        digest = digest_imported(text, lookup.pepper)
        redis_db.set(names.imported(digest.hex()), presented.public_id)
        redis_db.set(names.LIFE, 1)
        found = await lookup.find_imported(text)
        assert found is not None
        assert (found.public_id, found.digest) == (presented.public_id, digest)
        assert await lookup.find_imported(text + b"x") is None
        redis_db.set(names.DEPLOYMENT, "another")
        age(lookup, TRUSTED_SECONDS)
        for each in (text, text + b"x"):
            with pytest.raises(StoreRefused):
                await lookup.find_imported(each)

    looking(test)


def test_a_foreign_string_is_found_under_the_old_pepper_too(looking, redis_db):
    text, old = b"sk-of-another-system-0123456789", Pepper.of("o" * 40)

    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        lookup.peppers[old.id] = old
        digest = digest_imported(text, old)
        redis_db.set(names.imported(digest.hex()), presented.public_id)
        redis_db.set(names.LIFE, 1)
        found = await lookup.find_imported(text)
        assert found is not None
        assert (found.public_id, found.digest) == (presented.public_id, digest)
        assert found.digest_with(lookup.pepper) == digest_imported(text, lookup.pepper)

    looking(test)


def test_a_foreign_string_that_is_used_stays_in_the_process(looking, redis_db):
    texts = [b"sk-of-another-system-%d" % number for number in range(4)]

    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        lookup._imported._most = 3 * 400
        for text in texts:
            redis_db.set(names.imported(digest_imported(text, lookup.pepper).hex()), presented.public_id)
        for text in (*texts[:3], texts[0], texts[3]):
            assert await lookup.find_imported(text) is not None
        kept = [digest_imported(text, lookup.pepper) for text in (texts[2], texts[0], texts[3])]
        assert list(lookup._imported.entries) == kept

    looking(test)


@pytest.mark.parametrize("holder", [None, "ours", "another"])
def test_redis_is_filled_from_the_database_only_if_it_is_ours_or_nobodys(looking, redis_db, holder):
    async def test(lookup: Lookup, presented: PresentedKey) -> None:
        ours = redis_db.get(names.DEPLOYMENT)
        redis_db.flushdb()
        if holder is not None:
            redis_db.set(names.DEPLOYMENT, ours if holder == "ours" else holder)
        if holder == "another":
            with pytest.raises(StoreRefused):
                await lookup.load(presented.public_id)
            assert redis_db.keys() == [names.DEPLOYMENT]
            assert redis_db.get(names.DEPLOYMENT) == "another"
            return
        assert await lookup.load(presented.public_id) is not None
        assert redis_db.get(names.DEPLOYMENT) == ours
        part, account = names.partition(presented.public_id), names.account(presented.public_id[:8])
        fields = [names.field(kind, key) for kind in (names.VERSION, names.FACTS) for key in ("", presented.public_id)]
        assert None not in redis_db.hmget(account, fields)
        assert redis_db.get(names.catalogue_version(part)) == redis_db.hget(names.CATALOGUE, names.VERSION)

    looking(test)


# What a process learns, from whom, and when.


class Known:
    """Where a process learns: who has claimed Redis, and which deployment the database says that it is."""

    def __init__(self, theirs: str | None, ours: str | None) -> None:
        self.theirs, self.ours, self.refusal = theirs, ours, ""
        self.reads = self.forgotten = 0
        self.is_away = False

    async def ask(self, partition: str, command: object) -> bytes | None:
        if self.is_away:
            raise StoreUnavailable("redis is away")
        return None if self.theirs is None else self.theirs.encode()

    async def read_ours(self) -> str | None:
        self.reads += 1
        return self.ours

    def forget(self) -> None:
        self.forgotten += 1

    def whose(self) -> Whose:
        return Whose(cast(Link, self), self.read_ours, self.forget)


def long_ago(whose: Whose) -> None:
    """As if the database had been asked, and Redis been trusted, a while ago."""
    whose._learnt_at = whose._trusted_at = float("-inf")


def test_a_database_that_was_restored_is_asked_again_whose_it_is_but_not_at_every_question(on_a_loop, monkeypatch):
    monkeypatch.setattr(module, "LEARN_AGAIN_SECONDS", 3600.0)
    known = Known("restored", "of before")

    async def run() -> None:
        whose = known.whose()
        await whose.learn()
        with pytest.raises(StoreRefused):
            await whose.require_ours()
        assert known.reads == 1  # it has just been asked
        long_ago(whose)
        for _ in range(3):
            with pytest.raises(StoreRefused):
                await whose.require_ours()
        assert known.reads == 2
        known.ours = "restored"
        long_ago(whose)
        await whose.require_ours()
        assert (whose.ours, whose.is_certain, known.refusal) == ("restored", True, "")

    on_a_loop(run())


@pytest.mark.parametrize("theirs", [None, "ours"])
def test_what_was_learnt_stays_known_while_the_database_is_away(on_a_loop, theirs):
    known = Known(theirs, "ours")

    async def run() -> None:
        whose = known.whose()
        for ours in ("ours", None):
            known.ours = ours
            await whose.learn()
            assert whose.ours == "ours"
        await whose.require_ours()
        known.theirs = "another"
        long_ago(whose)
        with pytest.raises(StoreRefused):
            await whose.require_ours()

    on_a_loop(run())


def test_that_redis_is_anothers_is_logged_once_until_it_is_ours_again(on_a_loop, caplog):
    known = Known("another", "ours")

    async def run() -> None:
        whose = known.whose()
        await whose.learn()
        for theirs, errors in (("another", 1), ("another", 1), ("ours", 1), ("another", 2)):
            known.theirs = theirs
            long_ago(whose)
            with suppress(StoreRefused):
                await whose.require_ours()
            assert len(caplog.records) == errors

    on_a_loop(run())
    assert known.forgotten == 3


def test_a_process_that_watches_notices_every_change_and_never_stops(on_a_loop, monkeypatch):
    known = Known("ours", None)
    seen: list[tuple[str | None, bool, bool]] = []

    def away() -> None:
        known.is_away = True

    def back_as(theirs: str) -> Callable[[], None]:
        return lambda: vars(known).update(theirs=theirs, is_away=False, ours="ours")

    changes = iter([back_as("ours"), back_as("another"), away, back_as("another"), back_as("ours")])

    async def run() -> None:
        whose = known.whose()

        async def pause(seconds: float) -> None:
            assert seconds == TRUSTED_SECONDS
            seen.append((whose.ours, whose.is_certain, bool(known.refusal)))
            change = next(changes, None)
            if change is None:
                raise StopWatching
            change()

        monkeypatch.setattr(asyncio, "sleep", pause)
        with pytest.raises(StopWatching):
            await whose.watch()

    on_a_loop(run())
    assert seen == [
        (None, True, False),  # the database could not tell yet
        ("ours", True, False),
        ("ours", False, True),
        ("ours", False, True),  # Redis is away
        ("ours", False, True),
        ("ours", True, False),
    ]


class StopWatching(Exception):
    pass
