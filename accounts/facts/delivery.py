"""Publish parts to Redis as the database has them now, and delete their outbox rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple, TypeVar

from django.db.models import Model
from django.utils import timezone
from redis.exceptions import NoPermissionError, RedisError

from accounts.facts import snapshot
from accounts.facts.storing import later_version, raise_catalogue, store_account, store_catalogue, store_key
from accounts.models import Account, ApiKey, OutboxRow
from quotas import deployment
from quotas.models import Catalogue, UsageHour
from store import clients, names
from store.commands import RedisCommand, ScriptCall

log = logging.getLogger(__name__)

Item = TypeVar("Item")

BATCH = 500
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
    command: ScriptCall | RedisCommand


class Clash(NamedTuple):
    """A part of which Redis has different facts, at this version."""

    part: str
    subject: str
    stored: int


def deliver(part: str, subject: str) -> None:
    """Publish a part as the database has it now, and delete its outbox rows. Raises RedisError."""
    deployment.claim()
    for _ in range(_TRIES):
        version, calls = _READERS[part](subject)
        clashes = send(calls)
        if not clashes:
            _wait_for_replicas()
            OutboxRow.objects.filter(part=part, subject=subject, version__lte=version).delete()
            return
        for clash in clashes:
            _raise_above(clash)
    raise BehindRedis(f"redis has different facts of {part} {subject} than the database, and newer ones on each try")


def _raise_above(clash: Clash) -> None:
    """The database is behind Redis: a backup was restored, or a lagging replica took over.

    Its versions mean nothing to the gate until they are above those in Redis.
    """
    rows = _MODELS[clash.part]._base_manager
    row = rows.filter(pk=1) if clash.part == OutboxRow.Part.CATALOGUE else rows.filter(public_id=clash.subject)
    if row.filter(version__lte=clash.stored).update(version=clash.stored + 1, changed_at=timezone.now()):
        log.warning("redis had a later %s %s than the database: raised its version", clash.part, clash.subject)


def deliver_all(limit: int = 1000) -> int:
    """Publish what is in the outbox, oldest first; the number of parts published. Raises RedisError."""
    rows = OutboxRow.objects.order_by("id").values_list("part", "subject")[:limit]
    parts = dict.fromkeys(rows)
    deliver_parts(parts)
    return len(parts)


def deliver_parts(parts: Iterable[tuple[str, str]]) -> None:
    """Publish these parts, many keys in batches and everything else one by one. Raises RedisError."""
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
    for start in range(0, len(keys), BATCH):
        _deliver_keys(keys[start : start + BATCH])


def _deliver_keys(public_ids: list[str]) -> None:
    """Publish keys with their accounts, read at one moment and sent together; those that clash, one by one."""
    deployment.claim()
    versions, calls = _read_keys(public_ids)
    clashes = send(calls)
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
                calls += [account_command(account_id, part), _catalogue_version(account_id, catalogue)]
            facts = snapshot.read_key(key, accounts[account_id], catalogue, was_used=public_id in used)
            calls += key_commands(public_id, facts)
            versions[public_id] = facts.version
    return versions, calls


def _read_catalogue(_: str = "") -> tuple[int, list[PartCommand]]:
    with snapshot.one_moment():
        part = snapshot.read_catalogue()
    together = 1 if clients.minds_slots() else BATCH
    raises = [raise_catalogue(part, partitions) for partitions in _chunks(iter(names.ALL_PARTITIONS), together)]
    return part.version, [_catalogue_command(call) for call in (store_catalogue(part), *raises)]


def _read_account(public_id: str) -> tuple[int, list[PartCommand]]:
    found = snapshot.read_account_alone(public_id)
    assert found.account is not None
    calls = [account_command(public_id, found.account), _catalogue_version(public_id, found.catalogue)]
    return found.account.version, calls


def _read_key(public_id: str) -> tuple[int, list[PartCommand]]:
    found = snapshot.read_all(public_id)
    assert found.key is not None and found.account is not None
    return found.key.version, [
        account_command(public_id[:8], found.account),
        *key_commands(public_id, found.key),
        _catalogue_version(public_id, found.catalogue),
    ]


_READERS: dict[str, Callable[[str], tuple[int, list[PartCommand]]]] = {
    OutboxRow.Part.CATALOGUE: _read_catalogue,
    OutboxRow.Part.ACCOUNT: _read_account,
    OutboxRow.Part.KEY: _read_key,
}


def key_commands(public_id: str, part: snapshot.PartFacts) -> list[PartCommand]:
    return [PartCommand(OutboxRow.Part.KEY, public_id, command) for command in store_key(public_id, part)]


def account_command(account_id: str, part: snapshot.PartFacts) -> PartCommand:
    return PartCommand(OutboxRow.Part.ACCOUNT, account_id, store_account(account_id, part))


def _catalogue_command(call: ScriptCall) -> PartCommand:
    return PartCommand(OutboxRow.Part.CATALOGUE, "", call)


def _catalogue_version(public_id: str, catalogue: snapshot.PartFacts) -> PartCommand:
    """A partition that is used for the first time, or whose Redis lost its data, learns the catalogue's version."""
    return _catalogue_command(raise_catalogue(catalogue, [names.partition(public_id)]))


def send(calls: list[PartCommand]) -> list[Clash]:
    """Send commands; the parts of which Redis has different facts that are as new or newer."""
    clashes: dict[tuple[str, str], Clash] = {}
    for start in range(0, len(calls), BATCH):
        batch = calls[start : start + BATCH]
        for call, reply in zip(batch, clients.send_all(call.command for call in batch), strict=True):
            stored = later_version(call.command, reply)
            if stored is not None:
                known = clashes.get((call.part, call.subject))
                stored = max(stored, known.stored) if known else stored
                clashes[call.part, call.subject] = Clash(call.part, call.subject, stored)
    return list(clashes.values())


def _wait_for_replicas() -> None:
    """A replica promoted at the next moment should have the change; the worker repairs what it lacks."""
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
    """Publish everything, for a Redis that has lost its data; the number of parts."""
    deliver(OutboxRow.Part.CATALOGUE, "")
    accounts = Account.objects.order_by("pk").values_list("pk", flat=True)
    return 1 + sum(_publish_accounts_with_keys(list(ids)) for ids in _chunks(accounts.iterator(), BATCH))


def publish_changed_since(moment: datetime) -> int:
    """Publish again what has changed since a moment; the number of parts."""
    parts = [("", OutboxRow.Part.CATALOGUE)] if Catalogue.objects.filter(changed_at__gte=moment).exists() else []
    for part, rows in ((OutboxRow.Part.ACCOUNT, Account.objects), (OutboxRow.Part.KEY, ApiKey.objects)):
        changed = rows.filter(changed_at__gte=moment).values_list("public_id", flat=True)
        parts += [(public_id, part) for public_id in changed]
    for public_id, part in parts:
        deliver(part, public_id)
    return len(parts)


def _publish_accounts_with_keys(ids: list[int]) -> int:
    """Publish accounts and all their keys, read at one moment and sent in batches."""
    deployment.claim()
    calls: list[PartCommand] = []
    clashes: list[Clash] = []
    count = 0
    with snapshot.one_moment():
        catalogue = snapshot.read_catalogue()
        for account in Account.objects.filter(pk__in=ids).select_related("plan").prefetch_related("overrides"):
            part = snapshot.read_account(account, catalogue)
            calls.append(account_command(account.public_id, part))
            count += 1
            keys = account.keys.prefetch_related("secrets", "limits__model")
            for key in keys.iterator(chunk_size=BATCH):
                calls += key_commands(key.public_id, snapshot.read_key(key, part, catalogue))
                count += 1
                if len(calls) >= BATCH:
                    clashes += send(calls)
                    calls = []
    clashes += send(calls)
    for clash in clashes:  # there are none unless the database is behind Redis
        deliver(clash.part, clash.subject)
    return count


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while chunk := list(islice(items, size)):
        yield chunk
