"""What a master tells of its memory by INFO. Providers and ACLs hide some of it: None is "it does not say"."""

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
    most: int | None = None  # maxmemory; 0 where there is none

    @property
    def share(self) -> float | None:
        """How much of its memory is used: 1 and above is a master that refuses to write."""
        return self.used / self.most if self.used is not None and self.most else None


def read_condition(info: Mapping[str, Any]) -> Condition:
    """From the fields of `INFO memory`."""
    policy, used = info.get("maxmemory_policy"), _number(info.get("used_memory"))
    if used is not None:
        used = max(0, used - (_number(info.get("mem_not_counted_for_evict")) or 0))
    return Condition(str(policy) if policy else None, used, _number(info.get("maxmemory")))


def parse_info(text: bytes) -> dict[str, str]:
    """The fields of INFO as it comes over the wire."""
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def wrong_policies(conditions: Iterable[Condition]) -> list[str]:
    """The eviction policies other than noeviction: such a master would forget counters and revocations."""
    return sorted({found.policy for found in conditions if found.policy} - {"noeviction"})


def fullest(conditions: Iterable[Condition]) -> Condition | None:
    """The master that is nearest to its bound; None where no bound is known."""
    return max((found for found in conditions if found.share is not None), key=_share, default=None)


def memory_warning(conditions: Iterable[Condition]) -> str | None:
    """A sentence from 80 % on."""
    found = fullest(conditions)
    if found is None or _share(found) < NEARLY_FULL:
        return None
    return (
        f"Redis uses {_share(found):.0%} of its memory ({found.used} of {found.most} bytes): "
        "give it more before it is full and every call is refused."
    )


def _share(found: Condition) -> float:
    return found.share or 0.0


def _number(value: Any) -> int | None:
    with suppress(TypeError, ValueError):
        return int(value)
    return None


REMEDY = "Set `maxmemory-policy noeviction` in redis.conf, or at your provider; then give it memory enough."
UNKNOWN_POLICY = "REDIS_URL: this Redis does not say what its maxmemory-policy is; it must be noeviction."


def wrong_policy(policy: str) -> str:
    return f"REDIS_URL: this Redis has the maxmemory-policy {policy} and would forget counters and revocations."
