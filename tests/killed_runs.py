"""Test runs that use something of the whole machine, and how a later run can tell that one of them was killed.

Such a run holds a lock on a file for as long as its process lives, and the system gives the lock back however the process
ends. Anything named after a run without a lock is left over, and nobody will come back for it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def hold(run: str) -> bool:
    """Hold this run's lock until this process ends. False if a living process holds it, this one included."""
    file = os.open(_file(run), os.O_RDWR | os.O_CREAT, 0o644)  # stays open, and so locked, until this process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    atexit.register(forget, run)
    return True


def lives(run: str) -> bool:
    """Does a process hold this run's lock?"""
    with suppress(FileNotFoundError), _file(run).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def forget(run: str) -> None:
    """Remove the file of a run that left nothing behind."""
    _file(run).unlink(missing_ok=True)


def _file(run: str) -> Path:
    return Path(tempfile.gettempdir(), f"{run}.lock")
