"""The names of keys in Redis. All keys that one decision touches share the hash tag {P} and so a cluster slot."""

from __future__ import annotations

import re
from sys import intern

from django.conf import settings

# It stands before the hash tag, which stays the first thing in braces, so a prefix moves nothing to a different slot.
PREFIX = f"{settings.REDIS_PREFIX}:" if settings.REDIS_PREFIX else ""

CATALOGUE_PARTITION = "authsvc"  # the catalogue, one value for all, has a slot of its own
CATALOGUE = f"{PREFIX}{{{CATALOGUE_PARTITION}}}:catalogue"
DEPLOYMENT = f"{PREFIX}{{{CATALOGUE_PARTITION}}}:deployment"  # which deployment the data belongs to
PROCESSES = f"{PREFIX}{{{CATALOGUE_PARTITION}}}:processes"  # which processes run, by their own reports
LIFE = f"{PREFIX}authsvc:life"  # set once everything is published; missing after Redis lost its data
MAILBOX = f"{PREFIX}authsvc:mailbox"  # the mails of a service without a mail server
EVERY_USAGE = f"{PREFIX}{{*}}:u:*"  # a pattern for SCAN

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALL_PARTITIONS = [high + low for high in _BASE62 for low in _BASE62]

VERSION, FACTS, LOADED = "v", "f", "l"  # fields of the account's hash; those of its keys carry the key's id


def partition(public_id: str) -> str:
    """The account's partition: the first two characters of its random id, and so of its keys' ids."""
    return intern(public_id[:2])  # there are few, and a process holds many keys


def account(account_id: str) -> str:
    """An account's hash: versions, facts and loads of the account and its keys, and the calendar counters."""
    return f"{PREFIX}{{{partition(account_id)}}}:a:{account_id}"


def catalogue_version(part: str) -> str:
    return f"{PREFIX}{{{part}}}:c"


def changed(part: str) -> str:
    """The set of usage hashes that the worker has yet to copy."""
    return f"{PREFIX}{{{part}}}:changed"


def unknown(public_id: str) -> str:
    """Marks a key that the database did not have within the last minute."""
    return f"{PREFIX}{{{partition(public_id)}}}:unknown:{public_id}"


def imported(digest: str) -> str:
    """Maps an imported key's digest to its public id; spread over partitions by the digest itself."""
    return f"{PREFIX}{{{partition(digest)}}}:imported:{digest}"


def new_digests(part: str) -> str:
    """Secret → pepper:digest, written by gates when a key is used whose digest is under the old pepper."""
    return f"{PREFIX}{{{part}}}:new_digests"


def repaid(part: str, debt: str) -> str:
    """Records that calls which passed without Redis have been counted."""
    return f"{PREFIX}{{{part}}}:repaid:{debt}"


def probe(part: str) -> str:
    """Written to test whether Redis takes writes."""
    return f"{PREFIX}{{{part}}}:probe"


def throttle(name: str, who: str) -> str:
    """How often a person or credential has made a sensitive call."""
    return f"{PREFIX}authsvc:throttle:{name}:{who}"


def field(kind: str, key_id: str = "") -> str:
    """A field of the account's hash, for the account itself or for one of its keys."""
    return f"{kind}:{key_id[8:]}" if key_id else kind


def usage(key_id: str, model: str, hour: int) -> str:
    return f"{PREFIX}{{{partition(key_id)}}}:u:{key_id}:{model}:{hour}"


def read_usage(name: str) -> tuple[str, str, int]:
    """The key id, model and hour of a usage hash."""
    _, _, key_id, model, hour = name.removeprefix(PREFIX).split(":")
    return key_id, model, int(hour)


def is_usage(name: str) -> bool:
    """Whether this is the name of a usage hash."""
    return re.fullmatch(re.escape(PREFIX) + r"\{(\w\w)\}:u:\1\w{14}:[\w.-]+:\d+", name) is not None


def counter(subject: str, model: str, unit: str, window: str) -> tuple[str, str, str]:
    """The three fields of a calendar counter: how much was taken, in which window, and from which start of its limit
    it was loaded from the ledger."""
    name = f"{subject}:{model}:{unit}:{window}"
    return f"n:{name}", f"w:{name}", f"s:{name}"


def bucket(subject: str, model: str, unit: str, window: str) -> str:
    """The bucket of a smoothed limit. The subject is an account's id, or a key's, which begins with its account's."""
    return f"{PREFIX}{{{partition(subject)}}}:g:{subject}:{model}:{unit}:{window}"
