"""The names of keys in Redis. All that one decision touches share the hash tag {P}, so they sit in one cluster slot."""

from __future__ import annotations

import re

from django.conf import settings

# Before the hash tag, which stays the first thing in braces: a prefix moves nothing to another slot.
PREFIX = f"{settings.REDIS_PREFIX}:" if settings.REDIS_PREFIX else ""

CATALOGUE_PARTITION = "authsvc"  # the one value for everybody has a slot of its own
CATALOGUE = f"{PREFIX}{{{CATALOGUE_PARTITION}}}:catalogue"
DEPLOYMENT = f"{PREFIX}{{{CATALOGUE_PARTITION}}}:deployment"  # whose data this is
LIFE = f"{PREFIX}authsvc:life"  # set when everything was published; missing after Redis lost its data
EVERY_USAGE = f"{PREFIX}{{*}}:u:*"  # a pattern for SCAN

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALL_PARTITIONS = [high + low for high in _BASE62 for low in _BASE62]

VERSION, FACTS, LOADED = "v", "f", "l"  # fields of the account's hash; those of its keys carry the key's id


def partition(public_id: str) -> str:
    """The account's partition: the first two characters of its random id, and so of its keys' ids."""
    return public_id[:2]


def account(account_id: str) -> str:
    """One hash for an account: versions, facts and loads of the account and its keys, and the calendar counters."""
    return f"{PREFIX}{{{partition(account_id)}}}:a:{account_id}"


def catalogue_version(part: str) -> str:
    return f"{PREFIX}{{{part}}}:c"


def changed(part: str) -> str:
    """The names of usage hashes that the worker has not copied yet."""
    return f"{PREFIX}{{{part}}}:changed"


def unknown(public_id: str) -> str:
    """Marks a key that the database did not know a minute ago."""
    return f"{PREFIX}{{{partition(public_id)}}}:unknown:{public_id}"


def imported(digest: str) -> str:
    """Leads from an imported key's digest to its public id; spread over partitions by the digest itself."""
    return f"{PREFIX}{{{partition(digest)}}}:imported:{digest}"


def new_digests(part: str) -> str:
    """Secret → pepper:digest, made by gates when a key was used whose digest is under the old pepper."""
    return f"{PREFIX}{{{part}}}:new_digests"


def repaid(part: str, debt: str) -> str:
    """Remembers that calls which passed without Redis have been counted."""
    return f"{PREFIX}{{{part}}}:repaid:{debt}"


def probe(part: str) -> str:
    """Written by who wants to know whether Redis takes writes."""
    return f"{PREFIX}{{{part}}}:probe"


def throttle(name: str, who: str) -> str:
    """How much somebody has made of a sensitive call of the API."""
    return f"{PREFIX}authsvc:throttle:{name}:{who}"


def field(kind: str, key_id: str = "") -> str:
    """A field of the account's hash: of the account itself, or of one of its keys."""
    return f"{kind}:{key_id[8:]}" if key_id else kind


def usage(key_id: str, model: str, hour: int) -> str:
    return f"{PREFIX}{{{partition(key_id)}}}:u:{key_id}:{model}:{hour}"


def read_usage(name: str) -> tuple[str, str, int]:
    """Key id, model and hour of a usage hash."""
    _, _, key_id, model, hour = name.removeprefix(PREFIX).split(":")
    return key_id, model, int(hour)


def is_usage(name: str) -> bool:
    """Whether a name is that of a usage hash."""
    return re.fullmatch(re.escape(PREFIX) + r"\{(\w\w)\}:u:\1\w{14}:[\w.-]+:\d+", name) is not None


def counter(subject: str, model: str, unit: str, window: str) -> tuple[str, str, str]:
    """The three fields of a calendar counter: how much was taken, in which window, and for which start of its limit
    it was loaded from the ledger."""
    name = f"{subject}:{model}:{unit}:{window}"
    return f"n:{name}", f"w:{name}", f"s:{name}"


def bucket(subject: str, model: str, unit: str, window: str) -> str:
    """The bucket of a smoothed limit. The subject is an account's id or a key's, which begins with it."""
    return f"{PREFIX}{{{partition(subject)}}}:g:{subject}:{model}:{unit}:{window}"
