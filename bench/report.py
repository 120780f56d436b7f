"""What was measured, as JSON, as Markdown, and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.contest import Target
from bench.figures import Row, Spread

ROLES = ("server", "redis", "traefik", "client")


@dataclass(frozen=True, slots=True)
class Held:
    """A contest that was held."""

    part: str
    title: str
    rows: Sequence[Row]


@dataclass(slots=True)
class Report:
    """Everything one run found."""

    machine: Mapping[str, str]
    rounds: int
    seconds: float
    began: str
    contests: list[Held] = field(default_factory=list)
    targets: list[tuple[str, Target]] = field(default_factory=list)  # each with its part
    left_out: dict[str, str] = field(default_factory=dict)  # part → why

    def as_json(self) -> dict[str, Any]:
        return {
            "began": self.began,
            "machine": dict(self.machine),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "contests": [asdict(held) for held in self.contests],
            "targets": [
                {"part": part, **asdict(target), "is_reached": target.is_reached} for part, target in self.targets
            ],
            "left_out": self.left_out,
        }


def cells_of(rows: Sequence[Row]) -> list[list[str]]:
    """A table of rows: a heading, then a line for each."""
    roles = [role for role in ROLES if any(role in row.cpu for row in rows)]
    has_latency = any(row.p50 for row in rows)
    heading = ["", "a second", *(["p50 ms", "p99 ms"] if has_latency else [])]
    heading += [*(f"{role} µs" for role in roles), "CPU µs", "spread", "CPU ratio", "pace ratio"]
    return [heading + (["p50 ratio"] if has_latency else []), *(_cells(row, roles, has_latency) for row in rows)]


def _cells(row: Row, roles: Sequence[str], has_latency: bool) -> list[str]:
    cells = [row.name, f"{row.pace.median:,.0f}"]
    if has_latency:
        cells += [_milliseconds(row.p50), _milliseconds(row.p99)]
    cells += [f"{row.cpu[role].median:,.1f}" if role in row.cpu else "–" for role in roles]
    spread = row.cpu_together
    cells += [f"{spread.median:,.1f}", f"{spread.low:,.1f}–{spread.high:,.1f}"]
    cells += [_ratio(row.ratios.get("cpu")), _ratio(row.ratios.get("pace"))]
    return cells + ([_ratio(row.ratios.get("p50"))] if has_latency else [])


def _milliseconds(spread: Spread | None) -> str:
    return f"{spread.median:,.2f}" if spread else "–"


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f}" if spread else "1"


def text_of(cells: Sequence[Sequence[str]]) -> str:
    """The table with aligned columns."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(_aligned(line, widths)) for line in cells)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The first column to the left, numbers to the right."""
    yield line[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))


def markdown_of(cells: Sequence[Sequence[str]]) -> str:
    heading, *lines = cells
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *lines))


def cells_of_targets(targets: Sequence[tuple[str, Target]]) -> list[list[str]]:
    return [
        ["to reach", "bound", "measured", "reached"],
        *(
            [target.what, f"{'≥' if target.at_least else '≤'} {_number(target.bound)} {target.unit}".rstrip(),
             _number(target.figure), "yes" if target.is_reached else "no"]
            for _, target in targets
        ),
    ]  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".removesuffix(".00")


def as_markdown(report: Report) -> str:
    return "\n".join(_paragraphs(report)) + "\n"


def _paragraphs(report: Report) -> Iterator[str]:
    yield f"# Benchmark of {report.began}\n"
    yield f"Each subject had {report.seconds:g} s in each of {report.rounds} rounds. Figures are medians; ratios are to"
    yield "the first row, taken round by round. CPU is process time divided by answers.\n"
    yield markdown_of([["machine", ""], *([name, value] for name, value in report.machine.items() if value)])
    for held in report.contests:
        yield f"\n## {held.title} (`PART={held.part}`)\n"
        yield markdown_of(cells_of(held.rows))
    if report.targets:
        yield "\n## Targets\n"
        yield markdown_of(cells_of_targets(report.targets))
    for part, why in report.left_out.items():
        yield f"\n`{part}` was left out: {why}"
