"""Publish parts to Redis as the database has them now, and delete their outbox rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from django.db.models import Model
from django.utils import timezone
from redis.exceptions import NoPermissionError, RedisError

from accounts.facts import snapshot
from accounts.facts.storing import later_version, raise_catalogue, store_account, store_catalogue, store_key
from accounts.facts.together import (
    AccountsTogether,
    in_pieces,
    keys_for_facts,
    keys_of_accounts,
    read_keys,
    read_together,
)
from accounts.keys import ACCOUNT_LENGTH
from accounts.models import Account, ApiKey, OutboxRow
from quotas import deployment
from quotas.models import Catalogue
from runtime.among import among
from store import clients, names
from store.commands import RedisCommand, ScriptCall, command

log = logging.getLogger(__name__)

BATCH = 2000
_PARTITIONS = 500  # whose copies of the catalogue's version one script raises, while Redis answers nobody else
_FEW = 10  # below that, they are published one by one
_WAIT_MILLISECONDS = 100
_TRIES = 3
_TELL_SECONDS = 5
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


def deliver_all(limit: int = 5 * BATCH) -> int:
    """Publish what is in the outbox, oldest first; the number of parts published. Raises RedisError."""
    rows = OutboxRow.objects.order_by("id").values_list("part", "subject")[:limit]
    parts = dict.fromkeys(rows)
    deliver_parts(parts)
    return len(parts)


def deliver_parts(parts: Iterable[tuple[str, str]]) -> None:
    """Publish these parts, many keys or accounts in batches and everything else one by one. Raises RedisError."""
    subjects: dict[str, list[str]] = {part: [] for part in _READERS}
    for part, subject in parts:
        subjects[part].append(subject)
    for part, of_part in subjects.items():
        if part not in _TOGETHER or len(of_part) < _FEW:
            for subject in of_part:
                deliver(part, subject)
        else:
            for some in in_pieces(of_part, BATCH):
                _deliver_together(part, some)


def _deliver_together(part: str, public_ids: list[str]) -> None:
    """Publish keys or accounts, read at one moment and sent together; those that clash, one by one."""
    deployment.claim()
    versions, calls = _TOGETHER[part](public_ids)
    clashes = send(calls)
    _wait_for_replicas()
    alone = {(clash.part, clash.subject) for clash in clashes}
    done = set(versions) - {subject for _, subject in alone}
    rows = OutboxRow.objects.filter(among("subject", done), part=part)
    old = [pk for pk, subject, version in rows.values_list("pk", "subject", "version") if version <= versions[subject]]
    OutboxRow.objects.filter(among("pk", old)).delete()
    for one in alone:
        deliver(*one)


def _read_keys(public_ids: list[str]) -> tuple[dict[str, int], list[PartCommand]]:
    versions: dict[str, int] = {}
    with snapshot.one_moment():
        rows = list(keys_for_facts().filter(among("public_id", public_ids)))
        whose = read_together(among("pk", {account for _, account, *_ in rows}))
        calls = _account_commands(whose)
        for key, facts in read_keys(rows, whose):
            calls += key_commands(key.public_id, facts)
            versions[key.public_id] = facts.version
    return versions, calls


def _read_accounts(public_ids: list[str]) -> tuple[dict[str, int], list[PartCommand]]:
    with snapshot.one_moment():
        found = read_together(among("public_id", public_ids))
    return {account.public_id: found.parts[pk].version for pk, account in found.accounts.items()}, _account_commands(
        found
    )


_TOGETHER: dict[str, Callable[[list[str]], tuple[dict[str, int], list[PartCommand]]]] = {
    OutboxRow.Part.ACCOUNT: _read_accounts,
    OutboxRow.Part.KEY: _read_keys,
}


def _account_commands(found: AccountsTogether) -> list[PartCommand]:
    """The commands of the accounts, and for their partitions to learn the catalogue's version."""
    accounts = [account_command(account.public_id, found.parts[pk]) for pk, account in found.accounts.items()]
    return accounts + _catalogue_versions(found.accounts.values(), found.catalogue)


def _read_catalogue(_: str = "") -> tuple[int, list[PartCommand]]:
    with snapshot.one_moment():
        part = snapshot.read_catalogue()
    together = 1 if clients.minds_slots() else _PARTITIONS
    raises = [raise_catalogue(part, partitions) for partitions in in_pieces(names.ALL_PARTITIONS, together)]
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


def _catalogue_versions(accounts: Iterable[Account], catalogue: snapshot.PartFacts) -> list[PartCommand]:
    """The same for the partitions of many accounts."""
    first_of = {names.partition(account.public_id): account.public_id for account in accounts}
    return [_catalogue_version(public_id, catalogue) for public_id in first_of.values()]


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
    """Publish everything, for a Redis that has lost its data, and log the progress; the number of parts."""
    deliver(OutboxRow.Part.CATALOGUE, "")
    count, accounts = 1, 0
    total, began = Account.objects.count(), monotonic()
    told = began
    ids = Account.objects.order_by("pk").values_list("pk", flat=True)
    for some in in_pieces(ids.iterator(), BATCH):
        count, accounts = count + _publish_accounts_with_keys(some), accounts + len(some)
        if monotonic() - told >= _TELL_SECONDS:
            told = monotonic()
            pace = count / (told - began)
            log.info("published %d of %d accounts with their keys, %.0f parts a second", accounts, total, pace)
    return count


def publish_changed_since(moment: datetime) -> int:
    """Publish again what has changed since a moment where Redis has a different version; the number of parts.

    Asking Redis first takes less than a tenth of the time that publishing takes, and after a large import there are a
    million such keys for an hour.
    """
    parts = [(OutboxRow.Part.CATALOGUE, "")] if Catalogue.objects.filter(changed_at__gte=moment).exists() else []
    for part, rows in ((OutboxRow.Part.ACCOUNT, Account.objects), (OutboxRow.Part.KEY, ApiKey.objects)):
        changed = rows.filter(changed_at__gte=moment).order_by().values_list("public_id", "version")
        for some in in_pieces(changed.iterator(BATCH), BATCH):
            parts += [(part, public_id) for public_id in _of_other_versions(some)]
    deliver_parts(parts)
    return len(parts)


def _of_other_versions(rows: Sequence[tuple[str, int]]) -> list[str]:
    """Which of these accounts and keys Redis has at a different version, or not at all. A row is an id, and the version
    in the database."""
    by_hash: dict[str, dict[str, tuple[str, int]]] = {}  # each account's hash is read once: its fields, and their rows
    for public_id, version in rows:
        account_id, is_key = public_id[:ACCOUNT_LENGTH], len(public_id) > ACCOUNT_LENGTH
        asked = names.field(names.VERSION, public_id if is_key else "")
        by_hash.setdefault(names.account(account_id), {})[asked] = public_id, version
    replies = clients.send_all(command("HMGET", name, *fields) for name, fields in by_hash.items())
    return [
        public_id
        for fields, stored in zip(by_hash.values(), replies, strict=True)
        for (public_id, version), there in zip(fields.values(), stored, strict=True)
        if there is None or int(there) != version
    ]


def _publish_accounts_with_keys(ids: list[int]) -> int:
    """Publish accounts and all their keys, read at one moment and sent in batches."""
    deployment.claim()
    clashes: list[Clash] = []
    count = 0
    with snapshot.one_moment():
        for some in in_pieces(_accounts_with_keys(ids), BATCH):
            clashes += send([command for commands in some for command in commands])
            count += len(some)
    for clash in clashes:  # there are none unless the database is behind Redis
        deliver(clash.part, clash.subject)
    return count


def _accounts_with_keys(ids: list[int]) -> Iterator[list[PartCommand]]:
    """The commands of each of these accounts, then of each of their keys."""
    found = read_together(among("pk", ids))
    for pk, account in found.accounts.items():
        yield [account_command(account.public_id, found.parts[pk])]
    for key, part in read_keys(keys_of_accounts(ids), found):
        yield key_commands(key.public_id, part)
