"""Figures out of turns: medians, their spread, and ratios within each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from bench.turns import Turn

Measure = Literal["cpu", "pace", "p50"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several turns, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One subject's figures, and its ratios to the first subject, taken round by round."""

    name: str
    pace: Spread  # a second
    cpu: Mapping[str, Spread]  # microseconds for each one, by role
    cpu_together: Spread
    p50: Spread | None  # milliseconds
    p99: Spread | None
    ratios: Mapping[Measure, Spread]  # empty for the first subject


def rows_of(taken: Mapping[str, Sequence[Turn]]) -> list[Row]:
    """A row for each subject; the first is what the others are compared with."""
    first = next(iter(taken.values()))
    return [_row(name, turns, first) for name, turns in taken.items()]


def _row(name: str, turns: Sequence[Turn], first: Sequence[Turn]) -> Row:
    return Row(
        name,
        Spread.of([turn.pace for turn in turns]),
        {role: Spread.of([turn.cpu[role] for turn in turns]) for role in turns[0].cpu},
        Spread.of([turn.cpu_together for turn in turns]),
        _latency([turn.p50 for turn in turns]),
        _latency([turn.p99 for turn in turns]),
        {} if turns is first else _ratios(turns, first),
    )


def _latency(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else None


def _ratios(turns: Sequence[Turn], first: Sequence[Turn]) -> dict[Measure, Spread]:
    pairs = list(zip(turns, first, strict=True))
    ratios: dict[Measure, Spread] = {"pace": Spread.of([one.pace / other.pace for one, other in pairs])}
    if all(other.cpu_together for _, other in pairs):
        ratios["cpu"] = Spread.of([one.cpu_together / other.cpu_together for one, other in pairs])
    if all(one.p50 and other.p50 for one, other in pairs):
        ratios["p50"] = Spread.of([(one.p50 or 0) / (other.p50 or 1) for one, other in pairs])
    return ratios
