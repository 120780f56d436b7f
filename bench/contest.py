"""Parts of the benchmark, and what they yield: contests between subjects, and figures beside what they should reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Measure, Row
from bench.turns import Subject


@dataclass(frozen=True, slots=True)
class Target:
    """A figure beside the bound that it should reach: at most, or at least."""

    what: str
    figure: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


@dataclass(frozen=True, slots=True)
class Goal:
    """The bound for a median: of a subject's ratio to the first one, or with `is_pace` of how many it does a second."""

    what: str
    subject: str
    measure: Measure
    bound: float
    at_least: bool = False
    is_pace: bool = False

    def judged(self, rows: Sequence[Row]) -> Target:
        row = next(row for row in rows if row.name == self.subject)
        figure = row.pace.median if self.is_pace else row.ratios[self.measure].median
        return Target(self.what, figure, self.bound, "a second" if self.is_pace else "times", self.at_least)


@dataclass(frozen=True, slots=True)
class Contest:
    """Subjects to take turns, the first of which the others are compared with."""

    title: str
    subjects: Sequence[Subject]
    goals: Sequence[Goal] = field(default=())


Yielded = Contest | Target


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: rounds, seconds of each turn, and a divisor for the largest amounts of keys."""

    rounds: int = 5
    seconds: float = 3
    divisor: int = 1

    def keys(self, count: int) -> int:
        return max(count // self.divisor, 20)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the benchmark: what it is about, what it needs on PATH, and how to run it."""

    name: str
    about: str
    run: Callable[[ExitStack, Path, Scale], Iterator[Yielded]]
    needs: tuple[str, ...] = ("wrk",)
    turns: int = 2  # that each round takes
    set_up: int = 5  # seconds, about, before the first turn and between contests

    def seconds(self, scale: Scale) -> float:
        """About how long it takes."""
        return self.set_up / scale.divisor + self.turns * (scale.rounds * (scale.seconds + 0.3) + 1.3)
