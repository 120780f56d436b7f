"""Sign-in events for the audit log, without passwords, codes, or user names that don't exist."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from accounts.models import User
from accounts.services.acts import Actor, record_act

UNKNOWN = "(unknown user)"  # no user name has parentheses


def write_down(request: HttpRequest | None, user: User | None, act: str, **after: Any) -> None:
    """An act of somebody who signs in, tries to, or changes how. A name that nobody has may be a password typed into
    the wrong field, and is left out."""
    name = user.get_username() if user is not None else UNKNOWN
    address = Actor.address_of(request) if request is not None else ""
    record_act(Actor(name, address, user), act, name, after=after or None)


def throttled(request: HttpRequest, user: User | None, throttle: str) -> None:
    write_down(request, user, "user.throttled", throttle=throttle)
