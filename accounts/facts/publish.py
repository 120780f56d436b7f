"""How a change reaches the gate: committed with an outbox row, published after the commit, and only then done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import F, Model
from django.utils import timezone
from redis.exceptions import NoPermissionError, RedisError

from accounts.facts import snapshot
from accounts.facts.lookup import BURY, PUBLISH, RAISE, publish_account, publish_catalogue, publish_key
from accounts.models import Account, ApiKey, OutboxRow
from quotas import deployment
from quotas.deployment import AnotherDeployment
from quotas.models import Catalogue, UsageHour
from store import clients, names
from store.pipe import unpack

log = logging.getLogger(__name__)

_SOURCES = {script.sha.encode(): script.source for script in (PUBLISH, RAISE, BURY)}
_BATCH = 500
_FEW = 10  # below that, keys are published one by one
_WAIT_MILLISECONDS = 100
_TRIES = 3
_MODELS: dict[str, type[Model]] = {
    OutboxRow.Part.CATALOGUE: Catalogue,
    OutboxRow.Part.ACCOUNT: Account,
    OutboxRow.Part.KEY: ApiKey,
}


class BehindRedis(RedisError):
    """Redis has later facts than the database, and raising the database's versions did not help."""


class PartCommand(NamedTuple):
    """A command that publishes a part."""

    part: str
    subject: str
    command: bytes


class Clash(NamedTuple):
    """A part of which Redis has something else, at this version."""

    part: str
    subject: str
    stored: int


class Publication:
    """What became of a change: None while its transaction runs, then published or pending."""

    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []
        self.published: bool | None = None

    @property
    def is_pending(self) -> bool:
        """Committed, and the gate may not know it yet; the worker publishes it within a second of Redis's return."""
        return not self.published

    def of_key(self, key: ApiKey) -> None:
        """This transaction changes the key."""
        self._raise(key, OutboxRow.Part.KEY, key.public_id)

    def of_account(self, account: Account) -> None:
        """This transaction changes the account or its overrides."""
        self._raise(account, OutboxRow.Part.ACCOUNT, account.public_id)

    def of_account_with_keys(self, account: Account) -> None:
        """This transaction closes or reopens the account, which the facts of all its keys follow from."""
        self.of_account(account)
        rows = models_base(ApiKey).filter(account=account, revoked_at=None)  # of the others nothing is left to change
        rows.update(version=F("version") + 1, changed_at=timezone.now())
        keys = rows.values_list("public_id", "version")
        made = [OutboxRow(part=OutboxRow.Part.KEY, subject=subject, version=version) for subject, version in keys]
        OutboxRow.objects.bulk_create(made, batch_size=_BATCH)
        if account.closed_at is None or len(made) <= _BATCH:
            self.rows += made
        # Else the worker shrinks them: that the account is closed is all that the gate must know at once.

    def of_catalogue(self) -> None:
        """This transaction changes models, plans or their limits."""
        catalogue, _ = Catalogue.objects.get_or_create(pk=1)
        self._raise(catalogue, OutboxRow.Part.CATALOGUE, "")

    def of_births(self, rows: Sequence[ApiKey]) -> None:
        """This transaction creates all these keys."""
        made = [OutboxRow(part=OutboxRow.Part.KEY, subject=row.public_id, version=row.version) for row in rows]
        self.rows += OutboxRow.objects.bulk_create(made)

    def of_birth(self, row: ApiKey | Account) -> None:
        """This transaction creates the row: its first version needs no raising."""
        part = OutboxRow.Part.KEY if isinstance(row, ApiKey) else OutboxRow.Part.ACCOUNT
        self._note(part, row.public_id, row.version)

    def _raise(self, row: Account | ApiKey | Catalogue, part: str, subject: str) -> None:
        model: type[Model] = type(row)
        # Redis never makes versions: the row's own lock puts concurrent changes in order.
        models_base(model).filter(pk=row.pk).update(version=F("version") + 1, changed_at=timezone.now())
        row.refresh_from_db(fields=["version"])
        self._note(part, subject, row.version)

    def _note(self, part: str, subject: str, version: int) -> None:
        self.rows.append(OutboxRow.objects.create(part=part, subject=subject, version=version))


def models_base(model: type[Model]) -> Any:
    """The unguarded manager, for the services of this package alone."""
    return model._base_manager


@contextmanager
def change() -> Iterator[Publication]:
    """One transaction with its outbox rows; published when the outermost transaction has committed."""
    publication = Publication()
    with transaction.atomic():
        yield publication
        transaction.on_commit(lambda: _publish_now(publication))


def _publish_now(publication: Publication) -> None:
    if not publication.rows:
        publication.published = True
        return
    try:
        deliver_parts(dict.fromkeys((row.part, row.subject) for row in publication.rows))
    except (RedisError, DatabaseError) as error:
        # Committed all the same: the outbox row stands, and whoever reported a failure would make it happen twice.
        publication.published = False
        if isinstance(error, AnotherDeployment):
            log.error("a change is pending: %s", error)
            return
        log.warning("a change is pending: redis or the database cannot be reached (%s)", type(error).__name__)
    else:
        publication.published = True


def deliver(part: str, subject: str) -> None:
    """Publish a part as the database has it now, and take its outbox rows away. Raises RedisError."""
    deployment.claim()
    for _ in range(_TRIES):
        version, calls = _READERS[part](subject)
        clashes = _send(calls)
        if not clashes:
            _wait_for_replicas()
            OutboxRow.objects.filter(part=part, subject=subject, version__lte=version).delete()
            return
        for clash in clashes:
            _raise_above(clash)
    raise BehindRedis(f"redis has other facts of {part} {subject} than the database, and newer ones each time")


def _raise_above(clash: Clash) -> None:
    """The database is behind Redis: another one was restored, or a lagging replica of it took over.

    Its versions mean nothing to the gate until they are above those that Redis has.
    """
    rows = models_base(_MODELS[clash.part])
    rows = rows.filter(pk=1) if clash.part == OutboxRow.Part.CATALOGUE else rows.filter(public_id=clash.subject)
    if rows.filter(version__lte=clash.stored).update(version=clash.stored + 1, changed_at=timezone.now()):
        log.warning("redis had a later %s %s than the database: version raised", clash.part, clash.subject)


def deliver_all(limit: int = 1000) -> int:
    """Publish what is still in the outbox, oldest first; the number of parts published. Raises RedisError."""
    rows = OutboxRow.objects.order_by("id").values_list("part", "subject")[:limit]
    parts = dict.fromkeys(rows)
    deliver_parts(parts)
    return len(parts)


def deliver_parts(parts: Iterable[tuple[str, str]]) -> None:
    """Publish these parts; many keys in batches, one after the other what else there is. Raises RedisError."""
    keys = []
    for part, subject in parts:
        if part == OutboxRow.Part.KEY:
            keys.append(subject)
        else:
            deliver(part, subject)
    if len(keys) < _FEW:
        for subject in keys:
            deliver(OutboxRow.Part.KEY, subject)
        return
    for start in range(0, len(keys), _BATCH):
        _deliver_keys(keys[start : start + _BATCH])


def _deliver_keys(public_ids: list[str]) -> None:
    """Some keys with their accounts, read at one moment and sent together. Where Redis has something else: alone."""
    deployment.claim()
    versions, calls = _read_keys(public_ids)
    clashes = _send(calls)
    _wait_for_replicas()
    alone = {(clash.part, clash.subject) for clash in clashes}
    done = set(versions) - {subject for _, subject in alone}
    rows = OutboxRow.objects.filter(part=OutboxRow.Part.KEY, subject__in=done)
    old = [pk for pk, subject, version in rows.values_list("pk", "subject", "version") if version <= versions[subject]]
    OutboxRow.objects.filter(pk__in=old).delete()
    for part, subject in alone:
        deliver(part, subject)


def _read_keys(public_ids: list[str]) -> tuple[dict[str, int], list[PartCommand]]:
    calls: list[PartCommand] = []
    versions: dict[str, int] = {}
    accounts: dict[str, snapshot.PartFacts] = {}
    with snapshot.one_moment():
        catalogue = snapshot.read_catalogue()
        used = set(UsageHour.objects.filter(key__in=public_ids).values_list("key", flat=True).distinct())
        keys = ApiKey.objects.filter(public_id__in=public_ids).select_related("account__plan")
        for key in keys.prefetch_related("secrets", "limits__model", "account__overrides"):
            public_id, account_id = key.public_id, key.account.public_id
            if account_id not in accounts:
                part = accounts[account_id] = snapshot.read_account(key.account, catalogue)
                calls += _calls(OutboxRow.Part.ACCOUNT, account_id, publish_account(account_id, part))
                calls.append(_catalogue_version(account_id, snapshot.Snapshot(catalogue)))
            facts = snapshot.read_key(key, accounts[account_id], catalogue, was_used=public_id in used)
            calls += _calls(OutboxRow.Part.KEY, public_id, publish_key(public_id, facts))
            versions[public_id] = facts.version
    return versions, calls


def _read_catalogue(_: str = "") -> tuple[int, list[PartCommand]]:
    with snapshot.one_moment():
        part = snapshot.read_catalogue()
    together = 1 if clients.minds_slots() else _BATCH
    commands = publish_catalogue(part, names.ALL_PARTITIONS, together=together)
    return part.version, _calls(OutboxRow.Part.CATALOGUE, "", commands)


def _read_account(public_id: str) -> tuple[int, list[PartCommand]]:
    found = snapshot.read_account_alone(public_id)
    assert found.account is not None
    calls = _calls(OutboxRow.Part.ACCOUNT, public_id, publish_account(public_id, found.account))
    return found.account.version, [*calls, _catalogue_version(public_id, found)]


def _read_key(public_id: str) -> tuple[int, list[PartCommand]]:
    found = snapshot.read_all(public_id)
    assert found.key is not None and found.account is not None
    return found.key.version, [
        *_calls(OutboxRow.Part.ACCOUNT, public_id[:8], publish_account(public_id[:8], found.account)),
        *_calls(OutboxRow.Part.KEY, public_id, publish_key(public_id, found.key)),
        _catalogue_version(public_id, found),
    ]


_READERS: dict[str, Callable[[str], tuple[int, list[PartCommand]]]] = {
    OutboxRow.Part.CATALOGUE: _read_catalogue,
    OutboxRow.Part.ACCOUNT: _read_account,
    OutboxRow.Part.KEY: _read_key,
}


def _calls(part: str, subject: str, commands: list[bytes]) -> list[PartCommand]:
    return [PartCommand(part, subject, command) for command in commands]


def _catalogue_version(public_id: str, found: snapshot.Snapshot) -> PartCommand:
    """A partition that is used for the first time, or whose Redis lost its data, learns the catalogue's version."""
    partition = names.catalogue_version(names.partition(public_id))
    return PartCommand(OutboxRow.Part.CATALOGUE, "", RAISE.command([partition], [found.catalogue.version]))


def _send(calls: list[PartCommand]) -> list[Clash]:
    """Send what was read, and say of what Redis has something else that is as new or newer."""
    clashes: dict[tuple[str, str], Clash] = {}
    for start in range(0, len(calls), _BATCH):
        batch = calls[start : start + _BATCH]
        parsed = [unpack(call.command) for call in batch]
        for call, args, reply in zip(batch, parsed, clients.send_all(_call(*args) for args in parsed), strict=True):
            stored = _later(args, reply)
            if stored is not None:
                known = clashes.get((call.part, call.subject))
                stored = max(stored, known.stored) if known else stored
                clashes[call.part, call.subject] = Clash(call.part, call.subject, stored)
    return list(clashes.values())


def _later(args: list[bytes], reply: Any) -> int | None:
    """The version that stood in the way of a command, by its reply; None if nothing did."""
    if args[0] != b"EVALSHA":
        return None
    if args[1] == RAISE.sha.encode():
        return int(reply) if int(reply) > int(args[-1]) else None
    wrote, stored = reply
    return int(stored) if wrote < 0 else None


def _call(verb: bytes, first: bytes, *rest: bytes) -> list[str | bytes]:
    """EVAL with the source: a change must not fail because somebody flushed the scripts."""
    return ["EVAL", _SOURCES[first], *rest] if verb == b"EVALSHA" else [verb.decode(), first, *rest]


def _wait_for_replicas() -> None:
    """A replica that is promoted the next moment should know the change; the worker mends what it does not."""
    client = clients.sync_client()
    if clients.is_cluster():
        return
    (info,) = clients.infos(client, "replication")
    if not int(info.get("connected_slaves") or 0):
        return
    try:
        client.execute_command("WAIT", 1, _WAIT_MILLISECONDS)
    except NoPermissionError:
        log.warning("redis has replicas, and forbids WAIT: a failover may undo this change for up to a minute")


def partitions_in_use() -> list[str]:
    """The partitions that have accounts."""
    ids = Account.objects.values_list("public_id", flat=True)
    return sorted({names.partition(public_id) for public_id in ids.iterator()})


def publish_everything() -> int:
    """Publish all that there is, for a Redis that has nothing; the number of parts."""
    deliver(OutboxRow.Part.CATALOGUE, "")
    accounts = Account.objects.order_by("pk").values_list("pk", flat=True)
    return 1 + sum(_publish_accounts_with_keys(list(ids)) for ids in _chunks(accounts.iterator()))


def publish_changed_since(moment: datetime) -> int:
    """Publish again what changed lately; the number of parts."""
    parts = [("", OutboxRow.Part.CATALOGUE)] if Catalogue.objects.filter(changed_at__gte=moment).exists() else []
    for part, rows in ((OutboxRow.Part.ACCOUNT, Account.objects), (OutboxRow.Part.KEY, ApiKey.objects)):
        changed = rows.filter(changed_at__gte=moment).values_list("public_id", flat=True)
        parts += [(public_id, part) for public_id in changed]
    for public_id, part in parts:
        deliver(part, public_id)
    return len(parts)


def _publish_accounts_with_keys(ids: list[int]) -> int:
    """Some accounts and all their keys, read at one moment and sent in batches."""
    deployment.claim()
    calls: list[PartCommand] = []
    clashes: list[Clash] = []
    count = 0
    with snapshot.one_moment():
        catalogue = snapshot.read_catalogue()
        for account in Account.objects.filter(pk__in=ids).select_related("plan").prefetch_related("overrides"):
            part = snapshot.read_account(account, catalogue)
            calls += _calls(OutboxRow.Part.ACCOUNT, account.public_id, publish_account(account.public_id, part))
            count += 1
            keys = account.keys.prefetch_related("secrets", "limits__model")
            for key in keys.iterator(chunk_size=_BATCH):
                commands = publish_key(key.public_id, snapshot.read_key(key, part, catalogue))
                calls += _calls(OutboxRow.Part.KEY, key.public_id, commands)
                count += 1
                if len(calls) >= _BATCH:
                    clashes += _send(calls)
                    calls = []
    clashes += _send(calls)
    for clash in clashes:  # one by one: there are none, as long as the database is not behind Redis
        deliver(clash.part, clash.subject)
    return count


def _chunks(ids: Iterator[int]) -> Iterator[list[int]]:
    while chunk := list(islice(ids, _BATCH)):
        yield chunk
