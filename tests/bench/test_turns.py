import os
import subprocess
import sys

import pytest

from bench import wrk
from bench.processes import cpu_seconds, family, resident_bytes
from bench.turns import Server, Turn, Work, take_turns


class Recorded:
    """A subject that writes down whose turn it is."""

    def __init__(self, name, order):
        self.name, self.order = name, order

    def warm_up(self):
        self.order.append(f"warm {self.name}")

    def take_turn(self, seconds):
        self.order.append(self.name)
        return Turn(len(self.order), seconds, {})


def test_each_round_begins_with_the_next_subject():
    order: list[str] = []
    told: list[int] = []
    taken = take_turns([Recorded(name, order) for name in "abc"], 4, 2, lambda number, latest: told.append(number))
    assert order == ["warm a", "warm b", "warm c", *"abcbcacababc"]
    assert {name: len(turns) for name, turns in taken.items()} == {"a": 4, "b": 4, "c": 4}
    assert told == [1, 2, 3, 4]


def test_a_turn_goes_on_with_the_key_at_which_the_last_one_stopped(monkeypatch, tmp_path):
    starts = []

    def run(load, seconds, start):
        starts.append(start)
        return wrk.Outcome(70, 2_000_000, 0, 0, 1500, 9000)

    monkeypatch.setattr(wrk, "run", run)
    server = Server("gate", wrk.Load(tmp_path, 1, 1), {"server": os.getpid()})
    turns = [server.take_turn(2), server.take_turn(2)]
    assert starts == [0, 70]
    assert (turns[0].count, turns[0].pace, turns[0].p50, turns[0].p99) == (70, 35, 1.5, 9)


def test_a_server_that_never_answers_ends_the_warming_up(monkeypatch, tmp_path):
    def run(load, seconds, start):
        raise wrk.LoadFailed("no answers")

    monkeypatch.setattr(wrk, "run", run)
    monkeypatch.setattr("bench.turns.START_SECONDS", 0)
    with pytest.raises(wrk.LoadFailed, match="gate: no answers"):
        Server("gate", wrk.Load(tmp_path, 1, 1), {}).warm_up()


def test_work_is_counted_in_its_own_pieces_and_seconds():
    work = Work("import", lambda: {"count": 500, "seconds": 2.0, "cpu": 0.1}, {"redis": os.getpid()})
    turn = work.take_turn(1)
    assert (turn.count, turn.pace, turn.p50) == (500, 250, None)
    assert turn.cpu["client"] == pytest.approx(200)
    assert turn.cpu["redis"] < 200


def test_the_time_of_children_counts():
    busy = "import os,time\nif os.fork() == 0:\n while time.process_time() < 0.2: pass\n print(1, flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()  # the child has used its time, and both are waiting
        assert len(list(family(process.pid))) == 2
        assert cpu_seconds(process.pid) >= 0.19
        assert resident_bytes(process.pid) > 1_000_000
        process.communicate(b"\n\n")
