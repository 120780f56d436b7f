"""Whether Redis can be relied on, tested as decisions use it: through the gate's own link, by a script that writes.

A separate client might connect where the link cannot, and a read would succeed where counting is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError, ResponseError

from store import clients, names
from store.clients import StoreRefused, StoreUnavailable
from store.commands import Script, command
from store.condition import Condition, memory_warning, parse_info, read_condition, wrong_policies
from store.link import Link

PROBE = Script("return redis.call('SET', KEYS[1], 1, 'EX', 60)")
_MEMORY = command("INFO", "memory")


@dataclass(frozen=True, slots=True)
class Examination:
    """The result."""

    faults: tuple[str, ...] = ()  # with any of these no call can be decided
    warnings: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()


async def by_link(link: Link) -> Examination:
    """For a process with a gate."""
    if link.refusal:
        return Examination((link.refusal,))
    try:
        found = await asyncio.gather(*(_ask(link, partition) for partition in link.partitions()))
    except StoreRefused as error:
        return Examination((_refusal(error),))
    except StoreUnavailable as error:
        return Examination((f"the store cannot be used: {link.trouble or error}",))
    return judge(found)


async def _ask(link: Link, partition: str) -> Condition:
    await link.ask(partition, PROBE.call([names.probe(partition)], []))
    try:
        return read_condition(parse_info(await link.ask(partition, _MEMORY)))
    except StoreRefused:  # an ACL or a provider forbids INFO; it takes writes, which is what matters
        return Condition()


def by_client() -> Examination:
    """For a process without a gate, which uses redis-py's client."""
    try:
        PROBE.call([names.probe(names.CATALOGUE_PARTITION)], []).run(clients.sync_client())
        return judge(clients.conditions())
    except ResponseError as error:  # it answers, and does not do it
        return Examination((_refusal(error),))
    except (RedisError, OSError) as error:
        return Examination((f"the store does not answer ({type(error).__name__})",))


def judge(found: Sequence[Condition]) -> Examination:
    policies = tuple(f"the store's maxmemory-policy is {policy}, not noeviction" for policy in wrong_policies(found))
    warning = memory_warning(found)
    return Examination(policies, (warning,) if warning else (), tuple(found))


def _refusal(error: Exception) -> str:
    if "OOM" in str(error):
        return "the store is full: it refuses to count, so every call is refused (OOM)"
    return f"the store refuses to count ({error})"
