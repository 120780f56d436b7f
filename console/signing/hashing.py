"""Passwords are hashed one at a time: each hash costs a quarter of a second of CPU that the API needs too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.contrib.auth.hashers import PBKDF2PasswordHasher

AT_ONCE = 1  # in one process; there is a process for each core
MOST_WAITING = 64  # to wait costs less than to be refused and to ask again at once
WAIT_SECONDS = 10.0


class TooManyHashes(Exception):
    """Too many passwords are waiting to be checked."""


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
    """Django's default hasher, one hash at a time. Checking a password calls `encode` as well."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with slot():
            return super().encode(password, salt, iterations)
