"""This deployment's identity, which is in the database and claims its Redis."""

from __future__ import annotations

from secrets import token_hex

from quotas.models import Deployment
from store import ownership
from store.ownership import AnotherDeployment

__all__ = ["AnotherDeployment", "claim", "known", "own", "refuse_another"]


def known() -> str | None:
    """This deployment's identity; None until it is made. Writes nothing."""
    return Deployment.objects.filter(pk=1).values_list("identity", flat=True).first()


def own() -> str:
    """This deployment's identity, made on the first call. Raises DatabaseError."""
    return known() or Deployment.objects.get_or_create(pk=1, defaults={"identity": token_hex(16)})[0].identity


def claim() -> str:
    """Claim a Redis that has no owner; does nothing if it is ours. Returns our identity.

    Raises AnotherDeployment, or another RedisError."""
    ours = own()
    ownership.claim(ours)
    return ours


def refuse_another() -> None:
    """Raise as `claim` does, but claim nothing: for checks."""
    theirs = ownership.owner()
    ours = known() if theirs is not None else None
    if theirs is not None and ours is not None and theirs != ours:
        raise AnotherDeployment(theirs, ours)
