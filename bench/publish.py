"""Put results into the documentation: the section "Against others" of docs/performance.md, and its chart.

    python -m bench.publish bench/results/A.json [bench/results/B.json …]

Several files are put together; of a part that is in several, the last one counts. What was published stays in
bench/results/published.json, and a test compares it with the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.chart import Json, drawn
from bench.contest import Target
from bench.figures import Row, Spread
from tests.servers import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "assets" / "against-others.svg"
PUBLISHED = ROOT / "bench" / "results" / "published.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOT_DRAWN = ("import", "publish")  # pieces of work, not answers


def main(files: Sequence[str]) -> None:
    found = together([json.loads(Path(file).read_text(encoding="utf-8")) for file in files])
    PUBLISHED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    CHART.write_text(chart_of(found), encoding="utf-8")
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), section_of(found)), encoding="utf-8")


def together(runs: Sequence[Json]) -> dict[str, Any]:
    """One set of results: for each part what the last run with it found, and the machine and time of that run."""
    of_part = {one["part"]: run for run in runs for one in (*run["contests"], *run["targets"])}
    used = [run for run in runs if any(run is one for one in of_part.values())]
    return {
        "runs": [{name: run[name] for name in ("began", "machine", "rounds", "seconds")} for run in used],
        **{
            kind: [one for run in used for one in run[kind] if of_part[one["part"]] is run]
            for kind in ("contests", "targets")
        },
    }


def chart_of(found: Json) -> str:
    return drawn([contest for contest in found["contests"] if contest["part"] not in NOT_DRAWN])


def with_section(page: str, section: str) -> str:
    """The page with this between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"


def section_of(found: Json) -> str:
    return "\n".join(_paragraphs(found))


def _paragraphs(found: Json) -> Iterator[str]:
    yield "![Microseconds of CPU time for each answer](assets/against-others.svg)\n"
    for run in found["runs"]:
        told = ", ".join(f"{name} {value}" for name, value in run["machine"].items() if value)
        yield f"{run['rounds']} rounds of {run['seconds']:g} s, begun {run['began']}; {told}.\n"
    for contest in found["contests"]:
        yield f"**{contest['title']}** (`make bench PART={contest['part']}`)\n"
        yield report.markdown_of(report.cells_of([_row(row) for row in contest["rows"]])) + "\n"
    if found["targets"]:
        targets = [(one["part"], _target(one)) for one in found["targets"]]
        yield "**Targets**\n"
        yield report.markdown_of(report.cells_of_targets(targets)) + "\n"


def _row(row: Json) -> Row:
    spreads = {name: _spread(row[name]) for name in ("pace", "cpu_together", "p50", "p99")}
    cpu, ratios = ({one: _spread(row[name][one]) for one in row[name]} for name in ("cpu", "ratios"))
    return Row(row["name"], cpu=cpu, ratios=ratios, **spreads)  # type: ignore[arg-type]


def _spread(value: Json | None) -> Spread | None:
    return None if value is None else Spread(**value)


def _target(one: Json) -> Target:
    return Target(one["what"], one["figure"], one["bound"], one["unit"], one["at_least"])


if __name__ == "__main__":
    main(sys.argv[1:])
