"""Which deployment this is: an identity in the database, with which it claims its Redis."""

from __future__ import annotations

from secrets import token_hex

from quotas.models import Deployment
from store import ownership
from store.ownership import AnotherDeployment

__all__ = ["AnotherDeployment", "claim", "known", "own", "refuse_another"]


def known() -> str | None:
    """This deployment's identity; None as long as nobody has made it. Writes nothing."""
    return Deployment.objects.filter(pk=1).values_list("identity", flat=True).first()


def own() -> str:
    """This deployment's identity, made at the first call. Raises DatabaseError."""
    return known() or Deployment.objects.get_or_create(pk=1, defaults={"identity": token_hex(16)})[0].identity


def claim() -> None:
    """Take a Redis that is nobody's; one that is ours stays so. Raises AnotherDeployment, and other RedisErrors."""
    ownership.claim(own())


def refuse_another() -> None:
    """As `claim`, and takes nothing: for a check."""
    theirs = ownership.owner()
    ours = known() if theirs is not None else None
    if theirs is not None and ours is not None and theirs != ours:
        raise AnotherDeployment(theirs, ours)
