"""Subjects take turns, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from bench import wrk
from bench.processes import cpu_seconds

WARM_SECONDS = 1
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Turn:
    """What one subject did in one turn."""

    count: int
    seconds: float
    cpu: Mapping[str, float]  # microseconds for each one, by the role of the process
    p50: float | None = None  # milliseconds
    p99: float | None = None

    @property
    def pace(self) -> float:
        """How many in a second."""
        return self.count / self.seconds

    @property
    def cpu_together(self) -> float:
        return sum(self.cpu.values())


class Subject(Protocol):
    """Something whose turns are compared with those of others."""

    @property
    def name(self) -> str: ...

    def warm_up(self) -> None: ...

    def take_turn(self, seconds: float) -> Turn: ...


@dataclass(slots=True)
class Server:
    """A server under load, and the processes whose CPU time counts, each with the role it plays."""

    name: str
    load: wrk.Load
    processes: Mapping[str, int]
    before_each: Callable[[], None] = lambda: None
    warm_seconds: float = WARM_SECONDS
    asked: int = field(default=0, init=False)

    def warm_up(self) -> None:
        """It may listen before it can answer: gunicorn has no worker yet, Traefik no routes.

        A long warm-up on a busy machine may have an answer that comes too late; it is tried again as well.
        """
        end = monotonic() + START_SECONDS + self.warm_seconds
        while True:
            try:
                self.take_turn(self.warm_seconds)
                return
            except wrk.LoadFailed:
                if monotonic() >= end:
                    raise

    def take_turn(self, seconds: float) -> Turn:
        """Each turn goes on with the key at which the last one stopped."""
        self.before_each()
        before = {role: cpu_seconds(pid) for role, pid in self.processes.items()}
        try:
            outcome = wrk.run(self.load, seconds, start=self.asked)
        except wrk.LoadFailed as failure:
            raise wrk.LoadFailed(f"{self.name}: {failure}") from failure
        used = {role: cpu_seconds(pid) - before[role] for role, pid in self.processes.items()}
        self.asked += outcome.answers
        return Turn(
            outcome.answers,
            outcome.microseconds / 1e6,
            {role: seconds * 1e6 / outcome.answers for role, seconds in used.items()},
            outcome.p50 / 1000,
            outcome.p99 / 1000,
        )


@dataclass(slots=True)
class Work:
    """Work by a program that ends. `do` returns how many pieces it did, and its seconds in all and of CPU time."""

    name: str
    do: Callable[[], Mapping[str, float]]
    processes: Mapping[str, int]

    def warm_up(self) -> None:
        """The first time is like any other."""

    def take_turn(self, seconds: float) -> Turn:
        """As long as the work takes."""
        before = {role: cpu_seconds(pid) for role, pid in self.processes.items()}
        done = self.do()
        used = {role: cpu_seconds(pid) - before[role] for role, pid in self.processes.items()}
        count = int(done["count"])
        cpu = {role: one * 1e6 / count for role, one in {"client": done["cpu"], **used}.items()}
        return Turn(count, done["seconds"], cpu)


def take_turns(
    subjects: Sequence[Subject], rounds: int, seconds: float, tell: Callable[[int, Mapping[str, Turn]], None]
) -> dict[str, list[Turn]]:
    """The turns of each subject. The order changes with each round, so that nobody always comes after the same one."""
    taken: dict[str, list[Turn]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        subject.warm_up()
    for number in range(rounds):
        first = number % len(subjects)
        for subject in [*subjects[first:], *subjects[:first]]:
            taken[subject.name].append(subject.take_turn(seconds))
        tell(number + 1, {name: turns[-1] for name, turns in taken.items()})
    return taken
