"""Whose data Redis holds: two deployments on one Redis would rule each other's keys by their catalogues."""

from __future__ import annotations

from secrets import token_hex

from redis.exceptions import RedisError

from quotas import names, store
from quotas.models import Deployment


class AnotherDeployment(RedisError):
    """This Redis is in use by another deployment. The text says what to do."""

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__(
            f"This Redis holds the data of another deployment ({theirs[:8]}…; this one is {ours[:8]}…): give this one "
            "a Redis of its own, another database number in REDIS_URL, or an AUTHSVC_REDIS_PREFIX. If the other one "
            "is gone, empty that database of Redis (FLUSHDB)."
        )


def known() -> str | None:
    """This deployment's identity; None as long as nobody has made it. Writes nothing."""
    return Deployment.objects.filter(pk=1).values_list("identity", flat=True).first()


def own() -> str:
    """This deployment's identity, made at the first call. Raises DatabaseError."""
    return known() or Deployment.objects.get_or_create(pk=1, defaults={"identity": token_hex(16)})[0].identity


def claim() -> None:
    """Take a Redis that is nobody's; one that is ours stays so. Raises AnotherDeployment, and other RedisErrors."""
    ours = own()
    theirs = store.sync_client().set(names.DEPLOYMENT, ours, nx=True, get=True)
    if theirs not in (None, ours):
        raise AnotherDeployment(theirs, ours)


def refuse_another() -> None:
    """As `claim`, and takes nothing: for a check."""
    theirs = store.sync_client().get(names.DEPLOYMENT)
    ours = known() if theirs is not None else None
    if ours is not None and theirs != ours:
        raise AnotherDeployment(theirs, ours)
