"""The peppers that digests are made with, from the settings."""

from __future__ import annotations

from django.conf import settings

from accounts import keys


def peppers() -> list[keys.Pepper]:
    """The current pepper first, then the old one if it is still set."""
    return [keys.Pepper.of(text) for text in (settings.KEY_PEPPER, settings.KEY_PEPPER_OLD) if text]
