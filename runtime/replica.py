"""Numbers shared by the processes of one replica (gunicorn's master and workers): counts, who serves, who is draining.

They live in one anonymous shared mapping, made when the master imports this module and inherited by each worker it
forks. So there is no file (a read-only root is fine) and nothing to flush or collect, and a killed worker takes no
counts with it. There is no lock either: every number has one writer, and an aligned eight-byte store is atomic.
deploy/gunicorn.conf.py installs the functions at the end of this module as gunicorn's hooks.
"""

from __future__ import annotations

import mmap
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from threading import RLock
from types import FrameType
from typing import Any

SEATS = 256  # workers alive at one time, including both generations of a reload
SERIES = 2048  # the numbers that a seat can count by name
SPARE = 512  # of these are left to names that the product knows in advance, however many models there are
NAME_BYTES = 160
GAUGE = "="  # begins the name of a number that ends with its worker
NOWHERE = "nowhere"  # where a seat counts what it has no room for: no metric, but no decision fails for it either

_DRAINING, _GENERATION, _SERVED_ONCE = 0, 1, 2  # indexes of the replica's numbers
_SERVES, _BORN_IN, _STARTS, _USED, _HAS_SERVED, _FIRST = range(6)  # of a seat's numbers; named ones begin at _FIRST

_HEAD_BYTES = 64
_NUMBER_BYTES = 8 * (_FIRST + SERIES)
_SEAT_BYTES = _NUMBER_BYTES + SERIES * NAME_BYTES

IDENTITY = secrets.token_hex(4)  # of this replica: a process outside of gunicorn is one of its own

_memory = memoryview(mmap.mmap(-1, _HEAD_BYTES + SEATS * _SEAT_BYTES))  # untouched pages cost nothing
_replica = _memory[:_HEAD_BYTES].cast("Q")


class WorkerSeat:
    """A row of numbers owned by one living worker. The next worker in this seat continues from the counts it finds."""

    def __init__(self, index: int) -> None:
        self.index = index
        row = _memory[_HEAD_BYTES + index * _SEAT_BYTES :][:_SEAT_BYTES]
        self.numbers = row[:_NUMBER_BYTES].cast("Q")
        self._names = row[_NUMBER_BYTES:]

    def names(self) -> list[str]:
        """The names counted here so far, in order of their places."""
        names = (self._names[i * NAME_BYTES :][:NAME_BYTES] for i in range(self.numbers[_USED]))
        return [bytes(name).rstrip(b"\0").decode() for name in names]

    def places(self) -> dict[str, int]:
        """The index of each name's count in `numbers`."""
        return {name: _FIRST + i for i, name in enumerate(self.names())}

    def add(self, name: str) -> int:
        """Assign a new name its place. The name is written before the length that makes it visible to readers."""
        used, written = self.numbers[_USED], name.encode()
        if len(written) > NAME_BYTES:
            raise ValueError(f"{name!r} is longer than {NAME_BYTES} bytes")
        self._names[used * NAME_BYTES : used * NAME_BYTES + len(written)] = written
        self.numbers[_USED] = used + 1
        return _FIRST + used

    def counts(self) -> dict[str, int]:
        """The count of every name counted here."""
        return {name: self.numbers[place] for name, place in self.places().items()}

    def begins(self, generation: int) -> None:
        """A new worker is about to take this seat."""
        self.serves(False)
        self.numbers[_HAS_SERVED], self.numbers[_BORN_IN] = 0, generation
        self.numbers[_STARTS] += 1

    def serves(self, now: bool) -> None:
        """Record whether this seat's worker accepts connections."""
        self.numbers[_SERVES] = int(now)
        if now:
            self.numbers[_HAS_SERVED] = _replica[_SERVED_ONCE] = 1

    def is_left(self) -> None:
        """Its worker has died: it no longer serves, and what was true only while it lived is over."""
        self.serves(False)
        for name, place in self.places().items():
            if name.startswith(GAUGE):
                self.numbers[place] = 0


_seat: WorkerSeat
_places: dict[str, int]
_naming = RLock()
_movers: list[Callable[[memoryview], None]] = []  # of those who remember places in this process's seat


def sit(index: int) -> WorkerSeat:
    """Take a seat for this process: from now on everything is counted there."""
    global _seat, _places
    _seat = WorkerSeat(index)
    _places = _seat.places()
    for move in _movers:
        move(_seat.numbers)
    return _seat


def own_seat() -> WorkerSeat:
    """The seat of this process."""
    return _seat


def on_move(move: Callable[[memoryview], None]) -> None:
    """Call this with the numbers of this process's seat, now and whenever it takes a different one."""
    _movers.append(move)
    move(_seat.numbers)


def place_of(name: str, instead: str | None = None) -> int:
    """Where this process counts under a name.

    A name with something in it that operators make, such as a model's, has another one to be counted under `instead`
    once there are too many.
    """
    with _naming:
        place = _places.get(name)
        if place is not None:
            return place
        if name != NOWHERE and len(_places) >= SERIES - (SPARE if instead else 1):
            return place_of(instead or NOWHERE)
        place = _places[name] = _seat.add(name)
        return place


sit(0)  # so that counting works outside gunicorn as well


def totals() -> Counter[str]:
    """Every count by name, summed over all workers this replica has ever had, so none ever falls."""
    total: Counter[str] = Counter()
    for seat in _used_seats():
        total.update(seat.counts())
    return total


def worker_starts() -> int:
    """How many workers have been started since the replica was."""
    return sum(seat.numbers[_STARTS] for seat in _used_seats())


def workers_serving() -> int:
    """How many workers currently accept connections."""
    return sum(seat.numbers[_SERVES] for seat in _used_seats())


def ever_served(index: int) -> bool:
    """Has the worker in this seat ever accepted connections?"""
    return bool(WorkerSeat(index).numbers[_HAS_SERVED])


def anybody_served() -> bool:
    """Has any worker of this replica ever accepted connections?"""
    return bool(_replica[_SERVED_ONCE])


def is_of_this_generation(index: int) -> bool:
    """Was the worker in this seat started since the last reload?"""
    return bool(WorkerSeat(index).numbers[_BORN_IN] == _replica[_GENERATION])


def is_draining() -> bool:
    """Is the whole replica about to stop? A reload does not count."""
    return bool(_replica[_DRAINING])


def was_replaced(seat: WorkerSeat) -> bool:
    """Has a reload begun since the worker in this seat was started?"""
    return bool(_replica[_GENERATION] > seat.numbers[_BORN_IN])


def successor_serves(seat: WorkerSeat) -> bool:
    """Does a worker of a later generation already accept connections?"""
    return any(s.numbers[_SERVES] and s.numbers[_BORN_IN] > seat.numbers[_BORN_IN] for s in _used_seats())


def _used_seats() -> list[WorkerSeat]:
    """Seats are assigned from the first on, so the first one never used ends the list."""
    used = []
    for index in range(SEATS):
        seat = WorkerSeat(index)
        if not seat.numbers[_STARTS] and not seat.numbers[_USED]:
            break
        used.append(seat)
    return used


# gunicorn's hooks, which run in the master.


def watch_for_the_end(master: Any) -> None:
    """Hook `when_ready`: note a SIGTERM to the master the moment it arrives.

    Workers get a SIGTERM both on a reload, when their successors already exist, and at the end, when callers must
    notice first. gunicorn has no hook that tells the two apart, so we see the master's signal before gunicorn does.
    If another master keeps serving (USR2), the end of this one is not the end of the replica.
    """
    before = signal.getsignal(signal.SIGTERM)
    master_pid = os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        # A worker inherits this handler until it sets its own.
        if os.getpid() == master_pid and not another_master_serves(master):
            _replica[_DRAINING] = 1
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, note)


def another_master_serves(master: Any) -> bool:
    """Is this the old or the new master of an upgrade by USR2? gunicorn notices the old one's end a second late."""
    return bool(master.reexec_pid) or (master.master_pid != 0 and master.master_pid == os.getppid())


def next_generation(master: Any) -> None:
    """Hook `on_reload`: workers started from now on replace all earlier ones."""
    _replica[_GENERATION] += 1


def give_seat(master: Any, worker: Any) -> None:
    """Hook `pre_fork`: a new worker gets the first seat that no living worker has."""
    taken = {living.seat for living in master.WORKERS.values()}
    worker.seat = next(index for index in range(SEATS) if index not in taken)
    WorkerSeat(worker.seat).begins(_replica[_GENERATION])


def free_seat(master: Any, worker: Any) -> None:
    """Hook `child_exit`: a dead worker no longer serves, however it died."""
    WorkerSeat(worker.seat).is_left()
