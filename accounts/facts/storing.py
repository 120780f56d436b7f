"""The commands that store facts in Redis: the same for those who change them and for gates that refill Redis."""

from __future__ import annotations

from pathlib import Path

from accounts.facts.snapshot import PartFacts
from store import names
from store.commands import RedisCommand, Script, ScriptCall, command

_LUA = Path(__file__).parent / "lua"
PUBLISH = Script.in_file(_LUA / "publish.lua")
RAISE = Script.in_file(_LUA / "raise.lua")
BURY = Script.in_file(_LUA / "bury.lua")


def store_account(account_id: str, part: PartFacts) -> ScriptCall:
    """Store an account's facts and load its calendar counters, or remove them if it is closed."""
    fields = [names.VERSION, names.FACTS, names.LOADED]
    return _store(account_id, fields, part, account_id)


def store_key(public_id: str, part: PartFacts) -> list[ScriptCall | RedisCommand]:
    """Store a key's facts and load its calendar counters, or remove them if it is over; an imported key's digests lead
    to it."""
    fields = [names.field(kind, public_id) for kind in (names.VERSION, names.FACTS, names.LOADED)]
    if part.buried is None and not part.counters:
        fields[-1] = ""  # nothing is loaded, and to record that would take a tenth of what Redis keeps of a key
    facts = _store(public_id[:8], fields, part, public_id[8:])
    return [facts, *(command("SET", names.imported(digest), public_id) for digest in part.imported)]


def _store(account_id: str, fields: list[str], part: PartFacts, subject: str) -> ScriptCall:
    keys = [names.account(account_id)]
    if part.buried is not None:
        return BURY.call(keys, [*fields, part.version, part.json, subject, *part.buried])
    return PUBLISH.call(keys, [*fields, part.version, part.json, *_counters(part)])


def _counters(part: PartFacts) -> list[str | int]:
    return [
        value
        for counter in part.counters
        for value in (*counter.fields(), counter.window.number, counter.taken, counter.limit.since, counter.window.end)
    ]


def store_catalogue(part: PartFacts) -> ScriptCall:
    """Store the catalogue's one value. It goes before its version is raised in the partitions."""
    return PUBLISH.call([names.CATALOGUE], [names.VERSION, names.FACTS, "", part.version, part.json])


def raise_catalogue(part: PartFacts, partitions: list[str]) -> ScriptCall:
    """Raise the catalogue's version in these partitions; in a cluster one at a time, because each has its own slot."""
    return RAISE.call([names.catalogue_version(partition) for partition in partitions], [part.version])


def later_version(call: ScriptCall | RedisCommand, reply: object) -> int | None:
    """The version in Redis that stood in the way of one of these commands, by its reply; None if none did."""
    if isinstance(call, RedisCommand):
        return None
    if call.script is RAISE:
        assert isinstance(reply, int)
        return reply if reply > int(call.args[0]) else None
    assert isinstance(reply, list)
    wrote, stored = reply
    return int(stored) if wrote < 0 else None
