"""Wait, for a limited time, for the database and Redis, saying what is missing and how to fix it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from django.db import Error as DatabaseError
from django.db import connection
from redis.exceptions import RedisError

from runtime.faults import in_words, of_redis
from store.clients import sync_client

PAUSE_SECONDS = 0.5
REMIND_SECONDS = 10


class Away(Exception):
    """Something did not answer in time; the text says what, why, and what to do."""


def wait_until(why_not: Callable[[], str | None], *, seconds: float, say: Callable[[str], None]) -> None:
    """Call `why_not` until it returns None. Raises Away with the last reason."""
    end = monotonic() + seconds
    told, said = "", 0.0
    while (reason := why_not()) is not None:
        now = monotonic()
        if now >= end:
            raise Away(reason)
        if reason != told or now - said > REMIND_SECONDS:
            say(f"{reason} Waiting for up to {end - now:.0f} s more.")
            told, said = reason, now
        sleep(min(PAUSE_SECONDS, max(0.0, end - now)))


def why_no_database() -> str | None:
    """Why the database does not answer; None if it does."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        reason = in_words(error) or f"The database does not answer ({type(error).__name__})."
        connection.close()
        return reason
    return None


def why_no_redis() -> str | None:
    """Why Redis does not answer; None if it does."""
    try:
        sync_client().ping()
    except RedisError as error:
        return of_redis(error)
    return None
