"""Errors an operator can fix, told in one sentence on stderr instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from runtime.env import BadSetting


def say_plainly() -> None:
    """From now on an error that ends the process is printed as one sentence, if one sentence is enough."""
    if sys.excepthook is not _say:
        _before.append(sys.excepthook)
        sys.excepthook = _say


_before = [sys.__excepthook__]


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sentence = in_words(error)
    if sentence:
        sys.stderr.write(f"{sentence}\n")
    else:
        _before[-1](kind, error, trace)


@contextmanager
def or_exit() -> Iterator[None]:
    """Exit with the sentence, for callers that would otherwise print a traceback."""
    try:
        yield
    except BadSetting as error:
        sys.exit(str(error))


def in_words(error: BaseException) -> str | None:
    """What is wrong and how to fix it, or None if only a traceback can tell."""
    if isinstance(error, BadSetting):
        return str(error)
    if "django.db" in sys.modules:  # a process with bad settings need not load it
        from django.db import Error

        if isinstance(error, Error):
            return _of_the_database(error)
    return None


def of_redis(error: Exception) -> str:
    """How an operator can fix an error from Redis."""
    from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError

    from store.ownership import AnotherDeployment

    if isinstance(error, AnotherDeployment):
        return str(error)
    if isinstance(error, AuthenticationError):
        return "Redis rejects the user or the password in REDIS_URL."
    if isinstance(error, NoPermissionError):
        return f"Redis does not permit what authsvc needs ({error}): docs/operations.md lists the rights to grant."
    if isinstance(error, OutOfMemoryError):
        return "Redis is full and refuses writes: give it more memory."
    return f"Redis cannot be reached ({type(error).__name__}): start it, or correct REDIS_URL."


def is_read_only(error: BaseException) -> bool:
    """Does the database refuse changes, being a replica or a primary that has become one?"""
    return getattr(error.__cause__, "sqlstate", None) == "25006"


def is_database_away(error: BaseException) -> bool:
    """Is the database unavailable, as opposed to the query being wrong?"""
    from django.db import InterfaceError, OperationalError

    return isinstance(error, OperationalError | InterfaceError) or is_read_only(error)


def first_line(error: BaseException) -> str:
    """What the database says went wrong. Further lines may quote rows."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _of_the_database(error: Exception) -> str | None:
    from django.db import Error, OperationalError, ProgrammingError, connection

    if is_read_only(error):
        return "The database is read-only: it is a replica, or has become one. DATABASE_URL must point to the primary."
    first = first_line(error)
    if not isinstance(error, OperationalError | ProgrammingError):
        return None
    if connection.connection is None or not connection.is_usable():
        return f"The database cannot be reached ({first}): start it, or correct DATABASE_URL."
    from runtime import migrating

    try:
        behind = bool(migrating.missing())
    except Error:
        behind = False
    if behind:
        return "The database is not up to date: run manage.py migrate."
    return f"The database refused the query: {first}" if isinstance(error, OperationalError) else None


def is_plain(error: BaseException) -> bool:
    """Is one sentence enough?"""
    return isinstance(error, SystemExit) or in_words(error) is not None


def reason_of(error: BaseException) -> str:
    """Why something could not start, in one line."""
    if isinstance(error, SystemExit):
        return str(error.code) if isinstance(error.code, str) else f"exit status {error.code}"
    first = next(iter(str(error).strip().splitlines()), "")
    return in_words(error) or f"{type(error).__name__}: {first}"
