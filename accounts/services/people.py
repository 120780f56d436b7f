"""What people choose for themselves."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User
from accounts.services.acts import Actor, record_act

AUTOMATIC = ""


def choose_language(user: User, language: str, *, actor: Actor) -> None:
    """Choose the language of a person's pages and mails; AUTOMATIC follows their browser. Repeatable."""
    with transaction.atomic():
        before = User.objects.select_for_update().get(pk=user.pk).language
        if before != language:
            User.objects.filter(pk=user.pk).update(language=language)
            was, now = {"language": before}, {"language": language}
            record_act(actor, "user.language_change", user.get_username(), before=was, after=now)
    user.language = language


def note_language(user: User, language: str) -> None:
    """Remember the language in which somebody signed in, for the mails of those who chose none."""
    if user.last_language != language:
        User.objects.filter(pk=user.pk).update(last_language=language)
        user.last_language = language
