"""`Refused`: what services raise, and what doors show to people."""

from __future__ import annotations


class Refused(ValueError):
    """The act makes no sense as things stand; the text says what to do instead."""
