"""Which deployment a Redis belongs to: two on one Redis would judge each other's keys by their own catalogues."""

from __future__ import annotations

from redis.exceptions import RedisError

from store import clients, names


class AnotherDeployment(RedisError):
    """This Redis belongs to another deployment. The message says what to do."""

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__(
            f"This Redis holds the data of another deployment ({theirs[:8]}…; this one is {ours[:8]}…): give this one "
            "a Redis of its own, another database number in REDIS_URL, or an AUTHSVC_REDIS_PREFIX. If the other one "
            "is gone, empty that database of Redis (FLUSHDB)."
        )


def claim(ours: str) -> None:
    """Claim a Redis that has no owner; does nothing if it is ours. Raises AnotherDeployment, or another RedisError."""
    theirs = clients.sync_client().set(names.DEPLOYMENT, ours, nx=True, get=True)
    if theirs not in (None, ours):
        raise AnotherDeployment(theirs, ours)


def owner() -> str | None:
    """The deployment that has claimed this Redis, or None. Raises RedisError."""
    holder: str | None = clients.sync_client().get(names.DEPLOYMENT)
    return holder
