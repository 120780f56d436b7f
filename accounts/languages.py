"""The language a person is written to in."""

from __future__ import annotations

from django.conf import settings

from accounts.models import User


def language_of(user: User, otherwise: str = "") -> str:
    """The language they chose, else the one in which they last signed in, else `otherwise` or the operator's first.

    A language that the operator no longer offers counts as none.
    """
    offered = dict(settings.LANGUAGES)
    for code in (user.language, user.last_language, otherwise):
        if code in offered:
            return code
    return str(settings.LANGUAGES[0][0])
