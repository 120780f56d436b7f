"""The demo's processes: each started with its own log, watched, and stopped in reverse order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .obstacle import Obstacle

PATIENCE = 60.0  # seconds for a process to become ready on a cold disk and two cores
GRACE = 8.0  # seconds for a process to stop on its own
PR_SET_PDEATHSIG = 1


class Child:
    """One process in its own group, so that Ctrl-C reaches only us and we choose the order of stopping."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name, self.log = name, log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - we have no threads when starting these
            )

    def require_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise Obstacle(f"{self.name} stopped ({how}); the end of its log, {self.log}:\n{tail(self.log)}")

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def stop(self, deadline: float) -> None:
        """Stop the whole process group, with SIGKILL once the deadline has passed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.1, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Children:
    """All processes, in the order in which they were started."""

    def __init__(self, logs: Path, cwd: Path) -> None:
        self._logs, self._cwd = logs, cwd
        self._all: list[Child] = []

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        child = Child(name, command, environment, self._logs / f"{name}.log", self._cwd)
        self._all.append(child)
        return child

    def require_alive(self) -> None:
        for child in self._all:
            child.require_alive()

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait, and notice any process that dies instead of becoming ready."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            self.require_alive()
            if time.monotonic() > deadline:
                raise Obstacle(f"{what} did not answer within {PATIENCE:.0f} s; see the logs in {self._logs}.")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the store last. It was started first, and the others still write to it."""
        _stop_together(self._all[1:])
        _stop_together(self._all[:1])
        self._all.clear()


def _stop_together(children: Sequence[Child]) -> None:
    deadline = time.monotonic() + GRACE
    for child in reversed(children):
        child.ask_to_stop()
    for child in children:
        child.stop(deadline)


def tail(log: Path, lines: int = 20) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in text) or "    (it wrote nothing)"


def end_with_parent() -> None:
    """Have Linux send SIGTERM to this process when its parent ends, even if the parent was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
