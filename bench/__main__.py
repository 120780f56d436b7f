"""make bench: measure the gate by turns with what it is compared with, on this machine.

    python -m bench                 all parts
    python -m bench empty traefik   some of them
    python -m bench --list          the parts, what each needs, and about how long it takes

Prints tables and leaves them in bench/results/, as JSON and Markdown. Only ratios within one run are comparable.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench import machine, report
from bench.contest import Contest, Part, Scale
from bench.figures import rows_of
from bench.parts import PARTS
from bench.turns import Turn, take_turns
from bench.wrk import LoadFailed

RESULTS = Path(__file__).parent / "results"
PACKAGES = {"wrk": "apt-get install wrk", "nginx": "apt-get install nginx-light"}
PACKAGES["oauth2-proxy"] = "go install github.com/oauth2-proxy/oauth2-proxy/v7@latest"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    scale = Scale(options.rounds, options.seconds, options.divisor)
    if options.list:
        print(list_of(PARTS, scale))
        return 0
    if not Path("/proc/self/stat").exists():
        print("The benchmark reads CPU time from /proc, so it needs Linux.", file=sys.stderr)
        return 1
    parts = [part for part in PARTS if part.name in options.parts or not options.parts]
    found = report.Report(
        machine.describe(), scale.rounds, scale.seconds, datetime.now(UTC).isoformat(timespec="seconds")
    )
    for part in parts:
        _run(part, scale, found)
    _leave(found, options.results)
    return 1 if not found.contests or set(found.left_out) & set(options.parts) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gate by turns with others.")
    names = [part.name for part in PARTS]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(names)}; default: all")
    parser.add_argument("--list", action="store_true", help="list the parts, what each needs, and how long it takes")
    rounds, seconds = os.environ.get("BENCH_ROUNDS", "5"), os.environ.get("BENCH_SECONDS", "3")
    parser.add_argument("--rounds", type=int, default=int(rounds), help="turns of each subject (BENCH_ROUNDS, 5)")
    parser.add_argument("--seconds", type=float, default=float(seconds), help="of each turn (BENCH_SECONDS, 3)")
    parser.add_argument(
        "--divisor", type=int, default=1, help="divide the large numbers of keys by this, for a quick look"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for JSON and Markdown")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.parts if name not in names]:
        parser.error(f"unknown part {', '.join(unknown)}; choose from {', '.join(names)}")
    if options.rounds < 1 or options.seconds < 1 or options.divisor < 1:
        parser.error("rounds, seconds and divisor are at least 1")
    return options


def list_of(parts: Sequence[Part], scale: Scale) -> str:
    heading = ["part", "about", "minutes", "needs"]
    lines = [[part.name, f"{part.seconds(scale) / 60:.1f}", ", ".join(part.needs), part.about] for part in parts]
    total = ["all", f"{sum(part.seconds(scale) for part in parts) / 60:.1f}", "", ""]
    heading = ["PART", "minutes", "needs", "measures"]
    return "\n".join(f"{a:<14}{b:>8}  {c:<20} {d}" for a, b, c, d in (heading, *lines, total))


def _run(part: Part, scale: Scale, found: report.Report) -> None:
    missing = [tool for tool in part.needs if shutil.which(tool) is None]
    if missing:
        found.left_out[part.name] = "; ".join(f"{tool} is not on PATH ({PACKAGES[tool]})" for tool in missing)
        print(f"{part.name}: left out, {found.left_out[part.name]}", file=sys.stderr)
        return
    print(f"{part.name}: {part.about}; about {part.seconds(scale):.0f} s", file=sys.stderr)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authsvc-bench-")))
        try:
            _hold(part, stack, directory, scale, found)
        except (AssertionError, LoadFailed) as failure:
            found.left_out[part.name] = f"it failed: {failure}"
            print(f"{part.name}: {found.left_out[part.name]}", file=sys.stderr)


def _hold(part: Part, stack: ExitStack, directory: Path, scale: Scale, found: report.Report) -> None:
    for one in part.run(stack, directory, scale):
        if not isinstance(one, Contest):
            found.targets.append((part.name, one))
            print(report.text_of(report.cells_of_targets([(part.name, one)])), flush=True)
            continue
        taken = take_turns(one.subjects, scale.rounds, scale.seconds, _tell(one.title, scale.rounds))
        rows = rows_of(taken)
        targets = [(part.name, goal.judged(rows)) for goal in one.goals]
        found.contests.append(report.Held(part.name, one.title, rows))
        found.targets += targets
        print(f"\n{one.title}\n{report.text_of(report.cells_of(rows))}")
        if targets:
            print(report.text_of(report.cells_of_targets(targets)))
        print(flush=True)


def _tell(title: str, rounds: int):  # type: ignore[no-untyped-def]
    def tell(number: int, turns: Mapping[str, Turn]) -> None:
        latest = ", ".join(f"{name} {turn.pace:,.0f}/s {turn.cpu_together:.1f} µs" for name, turn in turns.items())
        print(f"  {title}: round {number} of {rounds}: {latest}", file=sys.stderr, flush=True)

    return tell


def _leave(found: report.Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = found.began.replace(":", "").replace("+0000", "Z")
    (folder / f"{name}.json").write_text(
        json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / f"{name}.md").write_text(report.as_markdown(found), encoding="utf-8")
    print(f"{folder / name}.json and .md", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
