"""Sign-in events for the audit log, without passwords, codes, or user names that don't exist."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from accounts.models import User
from accounts.services.acts import Actor, record_act
from runtime.measures import SIGN_INS

UNKNOWN = "(unknown user)"  # no user name has parentheses
_OUTCOMES = {"user.sign_in": "signed_in", "user.throttled": "throttled"}


def write_down(request: HttpRequest | None, user: User | None, act: str, **after: Any) -> None:
    """An act of somebody who signs in, tries to, or changes how. A name that nobody has may be a password typed into
    the wrong field, and is left out."""
    count(act, **after)
    name = user.get_username() if user is not None else UNKNOWN
    address = Actor.address_of(request) if request is not None else ""
    record_act(Actor(name, address, user), act, name, after=after or None)


def count(act: str, how: object = "", **_: Any) -> None:
    """Count an attempt to sign in for /metrics, also where a flood of them is no longer written down."""
    if act == "user.sign_in_failed":
        SIGN_INS.count_in_a_thread(str(how).partition(":")[0].replace(" ", "_"))
    elif act in _OUTCOMES:
        SIGN_INS.count_in_a_thread(_OUTCOMES[act])


def throttled(request: HttpRequest, user: User | None, throttle: str) -> None:
    write_down(request, user, "user.throttled", throttle=throttle)
