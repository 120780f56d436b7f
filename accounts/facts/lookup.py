"""Presented key → `KnownKey`: from this process, else from Redis, else from the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error as DatabaseError
from django.db import close_old_connections

from accounts.facts import snapshot
from accounts.facts.cache import Cache
from accounts.facts.facts import AccountFacts, KeyFacts, SecretFacts, account_from_json, key_from_json
from accounts.facts.known import HeldKey, KnownKey
from accounts.facts.storing import raise_catalogue, store_account, store_catalogue, store_key
from accounts.facts.whose import Whose
from accounts.keys import KeyReader, Pepper, PresentedKey, digest_imported
from quotas import deployment
from quotas.buckets import PEEKING, TAKING, Mode, Versions
from quotas.facts import CatalogueFacts, catalogue_from_json
from quotas.owed import Owed
from runtime.measures import FACTS
from runtime.migrating import require_current
from store import names
from store.clients import StoreUnavailable
from store.commands import RedisCommand, command
from store.link import Link
from store.pipe import Reply

DATABASE_THREADS = 4
DATABASE_SECONDS = 0.200
MOST_WAITING = 64
UNKNOWN_SECONDS = 60
_SHARE_OF_IMPORTED = 8  # an eighth of the cache leads from imported strings to their keys
_OF_IMPORTED = 400  # bytes of such an entry

log = logging.getLogger(__name__)

Found = TypeVar("Found")
_LOOK_CATALOGUE = command("HGET", names.CATALOGUE, names.FACTS)


class FactsUnavailable(Exception):
    """The database did not answer in time, or failed to."""


class Lookup:
    """The facts that a process holds. Facts are cached, decisions never: Redis confirms every use."""

    permitting: ClassVar[Mode] = TAKING  # how a decision takes from limits; an onlooker only looks

    def __init__(self, link: Link, peppers: Sequence[Pepper]) -> None:
        self.link = link
        self.pepper = peppers[0]
        self.peppers = {pepper.id: pepper for pepper in peppers}
        self.reader = KeyReader(settings.KEY_PREFIX, peppers)
        self.takes_imported = bool(settings.IMPORTED_KEYS)
        self.catalogue: CatalogueFacts | None = None
        most = int(settings.CACHE_BYTES)
        self.cache: Cache[str, HeldKey] = Cache(most - most // _SHARE_OF_IMPORTED)
        self._held = self.cache.entries
        self.recalled = 0  # how often a key was held, since the gate last counted it
        self._imported: Cache[bytes, str] = Cache(most // _SHARE_OF_IMPORTED)  # digest → public id
        self._whose = Whose(link, self._read_ours, self._forget)
        self.owed = Owed()
        self._redigested: set[int] = set()
        self._most_redigested = most // _SHARE_OF_IMPORTED // _OF_IMPORTED
        self._running: dict[str, asyncio.Task[HeldKey | None]] = {}
        self._threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="facts")
        self._in_database = 0

    async def know_whose(self) -> asyncio.Task[None]:
        """Learn which deployment this is, and watch whether Redis belongs to it."""
        await self._whose.learn()
        return asyncio.create_task(self._whose.watch())

    @property
    def deployment(self) -> str | None:
        """This deployment's identity, once it is known."""
        return self._whose.ours

    async def _read_ours(self) -> str | None:
        try:
            return await self._database(deployment.known)
        except FactsUnavailable as error:
            log.warning("cannot tell yet whether redis belongs to this deployment: %s", error)
            return None

    def _forget(self) -> None:
        self.catalogue = None
        self.cache.clear()
        self._imported.clear()

    def refusing(self, word: str) -> Mode:
        """How a refusal by the rules is confirmed: counted under the verdict's word."""
        return word

    def recall(self, public_id: str) -> HeldKey | None:
        """The key, if this process holds it."""
        held = self._held.get(public_id)
        if held is not None:
            self._held.move_to_end(public_id)
            self.recalled += 1
        return held

    def keep_beside(self, held: HeldKey, name: Hashable, value: object, size: int) -> None:
        """Keep what was made from a key's facts with them. It is forgotten with them, and its bytes count."""
        held.beside[name] = value
        self.cache.grow(held.known.key.public_id, held, size)

    async def find(self, presented: PresentedKey) -> HeldKey | None:
        """The key, or None if it does not exist. Raises StoreUnavailable or FactsUnavailable if that cannot be told."""
        public_id = presented.public_id
        if presented.pepper is not None:
            return await self._once(f"find {public_id}", lambda: self._find(public_id))
        return await self._once(f"look {public_id}", lambda: self._find_unverified(public_id))

    async def recall_from_redis(self, presented: PresentedKey, deadline: float) -> HeldKey | None:
        """The key, if Redis has all of its facts; None if only `find` can tell. Raises StoreUnavailable.

        It is one round trip, in which the pipe keeps the deadline. So a key that this process does not hold usually
        needs neither a task nor a timer.
        """
        if presented.pepper is None or self.catalogue is None or not self._whose.is_certain:
            return None
        public_id = presented.public_id
        found = await self.link.send(names.partition(public_id), _facts_of(public_id).packed(), deadline)
        if found.__class__ is not list or None in found:
            return None
        self._count("redis")
        return self._keep(public_id, key_from_json(found[1]), account_from_json(found[0]))

    async def renew(self, known: KnownKey, found: Versions) -> HeldKey | None:
        """The key, now that Redis has versions other than ours: from Redis, unless its copy is older."""
        public_id = known.key.public_id
        return await self._once(f"renew {public_id}", lambda: self._renew(known, found))

    async def load(self, public_id: str) -> HeldKey | None:
        """The key from the database. Redis gets it too, and calendar counters from the ledger where it has none."""
        return await self._once(f"load {public_id}", lambda: self._load(public_id))

    async def learn_catalogue(self) -> None:
        """Learn the catalogue, for the one question that comes before any key."""
        await self._whose.require_ours()
        text = await self.link.ask(names.CATALOGUE_PARTITION, _LOOK_CATALOGUE)
        self._learn(catalogue_from_json(text or (await self._database(snapshot.read_catalogue)).json))

    async def find_imported(self, text: bytes) -> PresentedKey | None:
        """The key that a foreign string was imported as. It is only looked up in Redis: a stranger costs no query."""
        await self._whose.require_ours()
        for pepper in self.peppers.values():
            digest = digest_imported(text, pepper)
            public_id = self._imported.entries.get(digest)
            if public_id is None:
                name = names.imported(digest.hex())
                found = await self.link.ask(names.partition(digest.hex()), command("GET", name))
                if found is None:
                    continue
                public_id = found.decode()
            self._imported.keep(digest, public_id, _OF_IMPORTED)  # even if it was there, as this marks a use
            return PresentedKey(public_id, text, pepper, digest, is_imported=True)
        await self._require_life()
        return None

    async def _require_life(self) -> None:
        """Redis has all keys once everything is published; before that it cannot tell that a key does not exist."""
        if not await self.link.ask(names.LIFE, command("EXISTS", names.LIFE)):
            raise FactsUnavailable("redis is not refilled yet")

    def keep_new_digest(self, secret: SecretFacts, presented: PresentedKey) -> None:
        """Leave the secret's digest under the current pepper for the worker to store, once per process."""
        if secret.id in self._redigested:
            return
        part = names.partition(presented.public_id)
        value = f"{self.pepper.id}:{presented.digest_with(self.pepper).hex()}"
        with suppress(StoreUnavailable):
            sent = self.link.send(part, command("HSET", names.new_digests(part), secret.id, value).packed())
            sent.add_done_callback(partial(self._kept_new_digest, secret.id))

    def _kept_new_digest(self, secret_id: int, sent: asyncio.Future[Reply]) -> None:
        if not sent.cancelled() and sent.exception() is None and isinstance(sent.result(), int):
            self._redigested.add(secret_id)  # otherwise the next use tries again
            if len(self._redigested) > self._most_redigested:
                self._redigested.clear()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def without_redis(self, public_id: str, lease: float) -> HeldKey | None:
        """The key, from facts that Redis confirmed within the lease (seconds), else from the database."""
        held = self._held.get(public_id)
        if held is not None and monotonic() - held.confirmed <= lease:
            return held
        return await self._once(f"read {public_id}", lambda: self._read(public_id))

    async def _read(self, public_id: str) -> HeldKey | None:
        found = await self._database(lambda: snapshot.read_all(public_id))
        if found.key is None or found.account is None:
            return None
        held = self._keep_found(public_id, found)
        held.confirmed = monotonic()
        return held

    async def _find(self, public_id: str) -> HeldKey | None:
        replies = await self._look(public_id, self.catalogue is None)
        if replies is None:
            self._count("nowhere")
            return None
        held = self._remember(replies)
        if held is None:
            return await self._load(public_id)
        self._count("redis")
        return held

    async def _find_unverified(self, public_id: str) -> HeldKey | None:
        """A string whose check cannot be verified may be made up, so it costs the database nothing."""
        replies = await self._look(public_id, self.catalogue is None)
        held = None if replies is None else self._remember(replies)
        if held is None:
            await self._require_life()
        self._count("nowhere" if held is None else "redis")
        return held

    async def _renew(self, known: KnownKey, found: Versions) -> HeldKey | None:
        now = self._held.get(known.key.public_id)
        if now is not None and now.known is not known and _as_new(now.known.versions, found):
            return now  # a concurrent decision has renewed it
        if _as_new(found, known.versions):
            needs_catalogue = self.catalogue is None or self.catalogue.version < found.catalogue
            replies = await self._look(known.key.public_id, needs_catalogue)
            if replies is not None:
                renewed = self._remember(replies)
                if renewed is not None and _as_new(renewed.known.versions, found):
                    self._count("redis")
                    return renewed
        return await self._load(known.key.public_id)

    async def _look(self, public_id: str, with_catalogue: bool) -> tuple[str, list[Reply]] | None:
        """All parts, in one round trip; None for a key that the database did not have within the last minute."""
        part = names.partition(public_id)
        questions = [
            self.link.ask(part, _facts_of(public_id)),
            self.link.ask(part, command("GET", names.unknown(public_id))),
        ]
        if with_catalogue:
            questions.append(self.link.ask(names.CATALOGUE_PARTITION, _LOOK_CATALOGUE))
        _, (account, key), unknown, *rest = await asyncio.gather(self._whose.require_ours(), *questions)
        if key is None and unknown is not None:
            return None
        return public_id, [key, account, *rest]

    def _remember(self, found: tuple[str, list[Reply]]) -> HeldKey | None:
        """Assemble the parts that Redis had; None if one is missing."""
        public_id, (key_text, account_text, *rest) = found
        if rest and rest[0] is not None:
            self._learn(catalogue_from_json(rest[0]))
        if key_text is None or account_text is None or self.catalogue is None:
            return None
        return self._keep(public_id, key_from_json(key_text), account_from_json(account_text))

    def _keep(self, public_id: str, key: KeyFacts, account: AccountFacts) -> HeldKey:
        assert self.catalogue is not None
        held = HeldKey(KnownKey.of(key, account, self.catalogue))
        self.cache.keep(public_id, held, held.known.size())
        return held

    def _learn(self, catalogue: CatalogueFacts) -> None:
        if self.catalogue is None or catalogue.version > self.catalogue.version:
            self.catalogue = catalogue

    async def _load(self, public_id: str) -> HeldKey | None:
        found, ours = await self._database(lambda: (snapshot.read_all(public_id), deployment.known()))
        await self._whose.claim(ours)
        part = names.partition(public_id)
        if found.key is None or found.account is None:
            self._count("nowhere")
            await self._mark_unknown(public_id)
            return None
        self._count("database")
        await asyncio.gather(
            self.link.ask(names.CATALOGUE_PARTITION, store_catalogue(found.catalogue)),
            self.link.ask(part, raise_catalogue(found.catalogue, [part])),
            *(self.link.ask(part, stored) for stored in store_key(public_id, found.key)),
            self.link.ask(part, store_account(public_id[:8], found.account)),
        )
        return self._keep_found(public_id, found)

    async def _mark_unknown(self, public_id: str) -> None:
        """Spare the database further look-ups of a key that it does not have."""
        mark = command("SET", names.unknown(public_id), 1, "EX", UNKNOWN_SECONDS)
        await self.link.ask(names.partition(public_id), mark)

    def _keep_found(self, public_id: str, found: snapshot.Snapshot) -> HeldKey:
        """The database is the truth, whatever this process held before."""
        assert found.key is not None and found.account is not None
        catalogue = catalogue_from_json(found.catalogue.json)
        if self.catalogue is None or self.catalogue.version != catalogue.version:
            self.catalogue = catalogue
        return self._keep(public_id, key_from_json(found.key.json), account_from_json(found.account.json))

    async def _database(self, read: Callable[[], Found]) -> Found:
        """Read in a thread. Raises FactsUnavailable if it takes too long or too many are waiting."""
        if self._in_database >= MOST_WAITING:
            raise FactsUnavailable("too many look-ups are waiting for the database")
        self._in_database += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, _with_fresh_connection, read)
        running.add_done_callback(self._left_database)
        try:
            return await asyncio.wait_for(asyncio.shield(running), DATABASE_SECONDS)
        except (DatabaseError, ObjectDoesNotExist, TimeoutError) as error:
            raise FactsUnavailable(str(error) or "the database did not answer in time") from error

    def _count(self, found: str) -> None:
        """Count where a key's facts were found other than in this process: redis, database or nowhere."""
        FACTS.count(found)

    def _left_database(self, running: asyncio.Future[Found]) -> None:
        self._in_database -= 1
        if not running.cancelled():
            running.exception()  # retrieved here, as nothing may be waiting for it any more

    async def _once(self, name: str, find: Callable[[], Coroutine[Any, Any, HeldKey | None]]) -> HeldKey | None:
        """Single flight: concurrent look-ups of the same thing share one."""
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(find())
            task.add_done_callback(lambda done: self._ended(name, done))
        return await asyncio.shield(task)

    def _ended(self, name: str, task: asyncio.Task[HeldKey | None]) -> None:
        del self._running[name]
        if not task.cancelled():
            task.exception()


class Onlooker(Lookup):
    """Looks up as a gate does, but takes nothing, counts nothing and leaves no mark.

    It does store missing facts in Redis, as a gate would on the key's next request: limits cannot be read without them.
    """

    permitting = PEEKING

    def refusing(self, word: str) -> Mode:
        return PEEKING

    def recall(self, public_id: str) -> HeldKey | None:
        return self._held.get(public_id)

    def keep_new_digest(self, secret: SecretFacts, presented: PresentedKey) -> None:
        pass

    def _count(self, found: str) -> None:
        pass

    async def _mark_unknown(self, public_id: str) -> None:
        pass


def _facts_of(public_id: str) -> RedisCommand:
    """The command that fetches the facts of the account and of the key."""
    return command("HMGET", names.account(public_id[:8]), names.FACTS, names.field(names.FACTS, public_id))


def _as_new(mine: Versions, other: Versions) -> bool:
    return all(a >= b for a, b in zip(mine, other, strict=True))


def _with_fresh_connection(read: Callable[[], Found]) -> Found:
    close_old_connections()
    try:
        require_current()
        return read()
    finally:
        close_old_connections()
