"""`Refused`, which services raise and doors show to people."""

from __future__ import annotations


class Refused(ValueError):
    """The act is not possible in the current state; the text says what to do instead."""
