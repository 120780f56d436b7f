"""What keeps the demo from running."""

from __future__ import annotations


class Obstacle(Exception):
    """Its text is one sentence for the person at the terminal: what is in the way, and what to do."""
