"""Why the demo cannot run."""

from __future__ import annotations


class Obstacle(Exception):
    """The demo cannot run; the text tells the person at the terminal why and what to do."""
