"""CPU time and memory of running programs, from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> Iterator[int]:
    """The process and all its descendants."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """The CPU time that the process and its descendants have used, in user and kernel mode."""
    return sum(_ticks(one) for one in family(pid)) / TICKS


def resident_bytes(pid: int) -> int:
    """The memory that the process has in RAM, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE


def _ticks(pid: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0  # it has just ended
