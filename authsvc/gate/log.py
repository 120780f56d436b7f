"""Decisions as lines of JSON, through a bounded queue, so that a slow log reader never slows a decision."""

from __future__ import annotations

import json
import sys
from collections import deque
from threading import Event, Thread
from time import monotonic
from typing import TextIO

from runtime.measures import LOG_LINES

MOST_A_SECOND = 100
MOST_WAITING = 1000
MOST_ALLOWED_WAITING = 800  # of these; the rest is left to refusals


class DecisionLog:
    """Refusals: at most MOST_A_SECOND lines a second per process, since anybody can cause them and fill a disk. Allowed
    calls: as many as the operator asks for, while the reader keeps up. What is left out is counted, and the count is
    logged."""

    def __init__(self) -> None:
        self._lines: deque[dict[str, object]] = deque()
        self._due = Event()
        self._second, self._written, self.left_out = 0, 0, 0
        self._thread: Thread | None = None

    def has_room(self, *, is_refusal: bool = True) -> bool:
        """Whether a line may be written now. Ask before making one; a line that may not be written is counted."""
        self._turn_second()
        if is_refusal:
            has_room = self._written < MOST_A_SECOND and len(self._lines) < MOST_WAITING
        else:
            has_room = len(self._lines) < MOST_ALLOWED_WAITING
        if not has_room:
            self.left_out += 1
            LOG_LINES.count("left_out")
        return has_room

    def write(self, line: dict[str, object], *, is_refusal: bool = True) -> None:
        """Write a line for which there is room."""
        self._written += is_refusal
        LOG_LINES.count("written")
        self._put(line)

    def _turn_second(self) -> None:
        second = int(monotonic())
        if second != self._second:
            if self.left_out and len(self._lines) < MOST_WAITING:
                self._put({"log": "decisions", "left_out": self.left_out})
            self._second, self._written, self.left_out = second, 0, 0

    def _put(self, line: dict[str, object]) -> None:
        self._lines.append(line)
        if self._thread is None:  # not before the first line: a thread does not survive gunicorn's fork
            self._start()
        self._due.set()

    def _start(self) -> None:
        self._thread = Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            self.flush()

    def flush(self) -> None:
        """Write the waiting lines. Called by the log's own thread, and once more at the end."""
        lines = []
        while self._lines:
            lines.append(json.dumps(self._lines.popleft(), separators=(",", ":")))
        if lines:
            out = _out()
            out.write("\n".join(lines) + "\n")
            out.flush()


def _out() -> TextIO:
    return sys.stdout
