"""A master's memory, as INFO reports it. Providers and ACLs hide some fields: those are None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

NEARLY_FULL = 0.8


@dataclass(frozen=True, slots=True)
class Condition:
    """One master's memory."""

    policy: str | None = None
    used: int | None = None  # bytes that count against `most`
    most: int | None = None  # maxmemory; 0 if it is not set

    @property
    def share(self) -> float | None:
        """The share of its memory in use: from 1 on, the master refuses writes."""
        return self.used / self.most if self.used is not None and self.most else None


def read_condition(info: Mapping[str, Any]) -> Condition:
    """Read the fields of `INFO memory`."""
    policy, used = info.get("maxmemory_policy"), _number(info.get("used_memory"))
    if used is not None:
        used = max(0, used - (_number(info.get("mem_not_counted_for_evict")) or 0))
    return Condition(str(policy) if policy else None, used, _number(info.get("maxmemory")))


def parse_info(text: bytes) -> dict[str, str]:
    """The fields of INFO as it comes over the wire."""
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def wrong_policies(conditions: Iterable[Condition]) -> list[str]:
    """Eviction policies other than noeviction: a master with one would drop counters and revocations."""
    return sorted({found.policy for found in conditions if found.policy} - {"noeviction"})


def fullest(conditions: Iterable[Condition]) -> Condition | None:
    """The master closest to its memory limit; None if no limit is known."""
    return max((found for found in conditions if found.share is not None), key=_share, default=None)


def memory_warning(conditions: Iterable[Condition]) -> str | None:
    """A sentence, once 80 % of the memory is in use."""
    found = fullest(conditions)
    if found is None or _share(found) < NEARLY_FULL:
        return None
    return (
        f"Redis uses {_share(found):.0%} of its memory ({found.used} of {found.most} bytes): "
        "give it more before it is full and all calls are refused."
    )


def _share(found: Condition) -> float:
    return found.share or 0.0


def _number(value: Any) -> int | None:
    with suppress(TypeError, ValueError):
        return int(value)
    return None


REMEDY = "Set `maxmemory-policy noeviction` in redis.conf or at your provider, and give it enough memory."
UNKNOWN_POLICY = "REDIS_URL: this Redis does not report its maxmemory-policy; it must be noeviction."


def wrong_policy(policy: str) -> str:
    return f"REDIS_URL: this Redis has maxmemory-policy {policy} and would drop counters and revocations."
