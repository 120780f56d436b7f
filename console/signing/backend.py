"""The only check of passwords: counted, then hashed once, whether or not the user exists."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.models import User
from console.signing.limits import count_password, forgive_password


class Passwords(ModelBackend):
    """Every page that asks for a password uses this, so none bypasses the limits."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **others: Any
    ) -> User | None:
        typed = username or others.get("email")
        if not typed or password is None:
            return None
        user = user_called(typed)
        if request is not None:  # a command's and a test's passwords are nobody's guesses
            count_password(request, user, typed)
        if user is None:
            User().set_password(password)  # takes as long as checking it
            return None
        if not user.check_password(password) or not self.user_can_authenticate(user):
            return None
        if request is not None:
            forgive_password(request, user, typed)
        return user


def user_called(typed: str) -> User | None:
    """The user with this name, in any case, or else with this confirmed address."""
    try:
        return User.objects.get_by_natural_key(typed)
    except User.DoesNotExist:
        pass
    if "@" not in typed:
        return None
    row = EmailAddress.objects.filter(email=typed.strip().lower(), verified=True).select_related("user").first()
    return row.user if row is not None else None
