"""What the processes of a replica know of each other, and what gunicorn's hooks write down. With gunicorn:
test_worker_class.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from runtime import replica


@pytest.fixture(autouse=True)
def _memory_of_its_own(monkeypatch):
    """Four seats that nobody has used."""
    memory = memoryview(bytearray(replica._HEAD_BYTES + 4 * replica._SEAT_BYTES))
    monkeypatch.setattr(replica, "_memory", memory)
    monkeypatch.setattr(replica, "_replica", memory[: replica._HEAD_BYTES].cast("Q"))
    monkeypatch.setattr(replica, "SEATS", 4)


def start(*living: int) -> replica.WorkerSeat:
    """As gunicorn does when it starts a worker beside these."""
    worker = SimpleNamespace(seat=None)
    replica.give_seat(SimpleNamespace(WORKERS={seat: SimpleNamespace(seat=seat) for seat in living}), worker)
    return replica.WorkerSeat(worker.seat)


def reload() -> None:
    replica.next_generation(None)


def end(seat: replica.WorkerSeat) -> None:
    replica.free_seat(None, SimpleNamespace(seat=seat.index))


# Seats


@pytest.mark.parametrize(("living", "seat"), [((), 0), ((0, 1), 2), ((1, 2), 0), ((0, 2), 1)])
def test_a_worker_gets_the_first_seat_that_no_living_worker_has(living, seat):
    assert start(*living).index == seat


def test_a_worker_serves_from_when_it_says_so_until_it_has_died():
    first, second = start(), start(0)
    assert replica.workers_serving() == 0 and not replica.anybody_served()
    first.serves(True)
    second.serves(True)
    assert replica.workers_serving() == 2
    end(first)
    assert replica.workers_serving() == 1


def test_the_next_worker_in_a_seat_has_not_served_yet_though_the_replica_has():
    """Or it would be started without end, although it never could."""
    seat = start()
    seat.serves(True)
    assert replica.ever_served(seat.index)
    end(seat)
    assert replica.ever_served(seat.index)
    start()
    assert not replica.ever_served(seat.index) and replica.anybody_served()
    assert replica.worker_starts() == 2


@pytest.mark.parametrize("quiet", ["has only started", "has only counted"])
def test_a_seat_that_was_used_in_any_way_hides_none_behind_it(quiet):
    if quiet == "has only started":
        start()
    else:
        replica.WorkerSeat(0).add("calls")
    start(0).add("calls")
    second = replica.WorkerSeat(1)
    second.numbers[replica._FIRST] = 7
    assert replica.totals()["calls"] == 7


@pytest.mark.parametrize("over", [0, 1])
def test_a_name_is_as_long_as_its_place_at_most(over):
    seat, name = start(), "n" * (replica.NAME_BYTES + over)
    if over:
        with pytest.raises(ValueError, match="is longer than"):
            seat.add(name)
    else:
        seat.add(name)
        seat.add("next")
    assert seat.names() == ([] if over else [name, "next"])


# Generations


def test_a_worker_is_replaced_by_a_reload_and_not_by_one_that_is_started_beside_it():
    old, beside = start(), start(0)
    assert not replica.was_replaced(old) and replica.is_of_this_generation(old.index)
    reload()
    new = start(0, 1)
    assert [replica.was_replaced(seat) for seat in (old, beside, new)] == [True, True, False]
    assert [replica.is_of_this_generation(seat.index) for seat in (old, beside, new)] == [False, False, True]


def test_only_a_later_worker_that_serves_is_a_successor():
    old, beside = start(), start(0)
    beside.serves(True)
    assert not replica.successor_serves(old)
    reload()
    new = start(0, 1)
    assert not replica.successor_serves(old)
    new.serves(True)
    assert replica.successor_serves(old) and not replica.successor_serves(new)
    end(new)
    assert not replica.successor_serves(old)


# The end


@pytest.fixture
def _handler_stays() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_handler_stays")
@pytest.mark.parametrize(
    ("in_master", "reexec_pid", "drains"),
    [(True, 0, True), (False, 0, False), (True, 4242, False)],
    ids=["the master's", "a worker's", "of one half of an upgrade"],
)
def test_the_masters_sigterm_drains_the_replica_and_reaches_gunicorn_too(monkeypatch, in_master, reexec_pid, drains):
    """A worker inherits the handler, and is sent one on each reload."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    replica.watch_for_the_end(SimpleNamespace(reexec_pid=reexec_pid, master_pid=0))
    if not in_master:
        monkeypatch.setattr(os, "getpid", lambda: -1)
    assert not replica.is_draining()
    signal.raise_signal(signal.SIGTERM)
    assert (replica.is_draining(), seen) == (drains, [signal.SIGTERM])


def test_a_reload_drains_nobody():
    start()
    reload()
    assert not replica.is_draining()


@pytest.mark.parametrize(
    ("reexec_pid", "master_pid", "serves"),
    [(0, 0, False), (4242, 0, True), (0, os.getppid(), True), (0, os.getpid(), False)],
    ids=["no upgrade", "the old half", "the new half", "the old half is gone"],
)
def test_one_half_of_an_upgrade_does_not_drain(reexec_pid, master_pid, serves):
    master = SimpleNamespace(reexec_pid=reexec_pid, master_pid=master_pid)
    assert replica.another_master_serves(master) == serves
