"""Few passwords are hashed at once: each costs a quarter of a second of CPU, and the API shares the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.contrib.auth.hashers import PBKDF2PasswordHasher

AT_ONCE = 1  # in one process; there is a process for each core
MOST_WAITING = 64  # to wait costs less than to be refused and to ask again at once
WAIT_SECONDS = 10.0


class TooManyHashes(Exception):
    """So many passwords are being checked that this one would wait too long."""


_slots = BoundedSemaphore(AT_ONCE)
_queue = BoundedSemaphore(AT_ONCE + MOST_WAITING)


@contextmanager
def slot() -> Iterator[None]:
    """Wait for a turn. Raises TooManyHashes."""
    if not _queue.acquire(blocking=False):
        raise TooManyHashes
    try:
        if not _slots.acquire(timeout=WAIT_SECONDS):
            raise TooManyHashes
        try:
            yield
        finally:
            _slots.release()
    finally:
        _queue.release()


class InTurn(PBKDF2PasswordHasher):
    """Django's default, one after the other. Checking a password encodes it, too."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with slot():
            return super().encode(password, salt, iterations)
