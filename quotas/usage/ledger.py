"""Redis usage → `UsageHour`, `RefusalHour`: absolute values, so copying twice, late or by two workers is harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection, transaction

from quotas.limits import SCOPES, UNITS, WINDOWS, hour_of, hour_start
from quotas.usage import days
from runtime.networks import read_address
from store import clients, names
from store.commands import Script, ScriptCall, command

FORGET = Script.in_file(Path(__file__).parents[1] / "lua" / "forget.lua")
_BATCH = 500
_TRIES = 20
_KEPT_SECONDS = 2 * 3600  # for which a copied hash of a past hour stays in Redis
_COUNTS = ("a", "r", "s", "x", "b")  # whatever else is counted changes only with one of these

OVER_LIMIT = "over_limit"  # the gate's word for it
SHADOW_REFUSED = "shadow_refused"  # what a limit in shadow would have refused
_RULE = re.compile(r"r:([a-z_]{1,32})")
_LIMIT = re.compile(
    rf"([ls]):((?:{'|'.join(SCOPES)}):(?:\*|[\w.-]{{1,63}}):(?:{'|'.join(UNITS)}):(?:{'|'.join(WINDOWS)}))"
)


class LastUse(NamedTuple):
    """When a secret was last used, and from where, if that is known."""

    moment: datetime
    address: str | None


def later(one: LastUse, other: LastUse) -> LastUse:
    """The later use; of two in the same second the one whose address is known."""
    return max(one, other, key=lambda use: (use.moment, use.address is not None))


@dataclass(frozen=True, slots=True)
class CountedHour:
    """A usage hash as it was read."""

    name: str
    key: str
    model: str
    hour: int
    raw: dict[str, str]

    def count(self, of: str) -> int:
        return int(self.raw.get(of, 0))

    def row(self) -> tuple[Any, ...]:
        allowed = self.count("a")
        return (
            self.key[:8],
            self.key,
            self.model,
            hour_start(self.hour),
            self.count("b"),
            allowed,
            self.count("r"),
            self.count("s"),
            allowed + self.count("x"),
        )

    def refusals(self) -> Iterator[tuple[Any, ...]]:
        """A row for each reason for which calls were refused, or would have been."""
        row = (self.key[:8], self.key, self.model, hour_start(self.hour), self.count("b"))
        for name in self.raw:
            if found := _RULE.fullmatch(name):
                yield (*row, found[1], "", self.count(name))
            elif found := _LIMIT.fullmatch(name):
                yield (*row, OVER_LIMIT if found[1] == "l" else SHADOW_REFUSED, found[2], self.count(name))

    def last_uses(self) -> Iterator[tuple[int, LastUse]]:
        for name, seconds in self.raw.items():
            if name.startswith("u:"):
                address = self._address(name[2:], seconds)
                yield int(name[2:]), LastUse(datetime.fromtimestamp(int(seconds), UTC), address)

    def _address(self, secret: str, seconds: str) -> str | None:
        """Where the use in this second came from. A gate of the version before keeps no address, only the second."""
        second, _, address = self.raw.get(f"f:{secret}", "").partition(" ")
        try:
            return str(read_address(address)) if second == seconds else None
        except ValueError:
            return None


@dataclass(slots=True)
class Copied:
    """The result of one round: how many usage hashes were copied, of which accounts, and each secret's last use."""

    hashes: int = 0
    accounts: set[str] = field(default_factory=set)
    last_uses: dict[int, LastUse] = field(default_factory=dict)


def copy_usage(partitions: Iterable[str]) -> Copied:
    """Copy changed usage of these partitions. Raises RedisError or DatabaseError; what is copied stays copied."""
    copied = Copied()
    for changed_names in _batches(_changed(partitions)):
        hours = _read(changed_names)
        keep_hours(hours)
        _forget(hours)
        copied.hashes += len(hours)
        for hour in hours:
            copied.accounts.add(hour.key[:8])
            for secret, use in hour.last_uses():
                copied.last_uses[secret] = later(use, copied.last_uses.get(secret, use))
    return copied


def begin_new_births() -> int:
    """Copy every usage hash and delete it, so that counting continues from zero in a hash with a new birth.

    When an old copy of Redis is restored, its hashes are lower than what was copied from them. With the same birth,
    whatever they count next would be hidden below that.
    """
    client = clients.sync_client()
    count = 0
    for batch in _batches(filter(names.is_usage, client.scan_iter(names.EVERY_USAGE, count=_BATCH))):
        count += len(batch)
        left = batch
        for _ in range(_TRIES):
            hours = _read(left)
            keep_hours(hours)
            gone = clients.send_all(_forgetting(hour, -1) for hour in hours)
            # A busy key has counted on since it was read: repeat until nothing came after the copy.
            left = [hour.name for hour, is_gone in zip(hours, gone, strict=True) if not is_gone]
            if not left:
                break
    return count


def _changed(partitions: Iterable[str]) -> Iterator[str]:
    client = clients.sync_client()
    for part in partitions:
        yield from client.sscan_iter(names.changed(part), count=_BATCH)


def _batches(items: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(items, _BATCH)):
        yield batch


def _read(changed_names: list[str]) -> list[CountedHour]:
    found = clients.send_all(command("HGETALL", name) for name in changed_names)
    return [CountedHour(name, *names.read_usage(name), raw) for name, raw in zip(changed_names, found, strict=True)]


def keep_hours(hours: list[CountedHour]) -> None:
    """Keep the greater of stored and copied for each birth of a counter, and add up the days of these hours."""
    usage = [hour.row() for hour in hours if hour.count("b")]
    refusals = [row for hour in hours if hour.count("b") for row in hour.refusals()]
    if not usage:
        return
    with transaction.atomic():
        days.lock_usage()
        _keep_greater(days.USAGE, usage)
        if refusals:
            _keep_greater(days.REFUSALS, refusals)


def _keep_greater(of: days.Summed, rows: list[tuple[Any, ...]]) -> None:
    greater = "GREATEST" if connection.vendor == "postgresql" else "MAX"
    table, counts = of.hours._meta.db_table, of.counts
    identity = ('"key"', "model", "hour", "birth", *of.reason)
    statement = (  # made of names in this file
        f"INSERT INTO {table} (account, {', '.join([*identity, *counts])}) "  # noqa: S608
        f"VALUES ({', '.join(['%s'] * len(rows[0]))}) ON CONFLICT ({', '.join(identity)}) DO UPDATE SET "
        + ", ".join(f"{count} = {greater}({table}.{count}, excluded.{count})" for count in counts)
    )
    rows.sort(key=lambda row: row[1:])  # the same everywhere, so that two workers never deadlock on each other's rows
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
    days.add_up(((key, model, days.day_start(hour)) for _, key, model, hour, *_ in rows), of)


def _forget(hours: list[CountedHour]) -> None:
    """Take hashes that have not changed since off the list; those that have are copied again next time."""
    this_hour = hour_of(datetime.now(UTC))
    clients.send_all(
        _forgetting(hour, _KEPT_SECONDS if hour.hour < this_hour - 1 and hour.raw else 0) for hour in hours
    )


def _forgetting(hour: CountedHour, kept_seconds: int) -> ScriptCall:
    seen = [value for count in _COUNTS for value in (count, hour.raw.get(count, ""))]
    return FORGET.call([names.changed(names.partition(hour.key)), hour.name], [kept_seconds, *seen])
