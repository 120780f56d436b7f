"""`make mutants`: plant each fault by itself in a copy of the tree, and see whether the tests notice."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.mutants.planting import Mutant, mutants, tracked_files
from tests.servers import ROOT

CERTAIN = "not slow and not timed"  # what `make test` runs
ENOUGH = 0.9  # of the mutants, that have to be caught
LONGEST_RUN = 1500.0  # seconds; a mutant that makes tests hang is caught, too
PASSED = 0  # pytest's exit code
OURS = "tests/mutants"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant. `test` is the first one that failed, "" if none did."""

    mutant: Mutant
    test: str
    seconds: float

    @property
    def is_caught(self) -> bool:
        return bool(self.test)


def main() -> int:
    options = _options()
    wanted = mutants(options.names)
    if not wanted:
        print("There is no such mutant. tests/mutants/ has them, as AREA/NAME.")
        return 2
    fates = []
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(judge, mutant, whole=not options.first_only) for mutant in wanted]
        for done in as_completed(running):
            fates.append(done.result())
            _tell(fates[-1], len(fates), len(wanted))
    return _sum_up(fates, options.json)


def judge(mutant: Mutant, *, whole: bool) -> Fate:
    """Run the tests that should notice, and if none does, all that `make test` runs."""
    began = monotonic()
    with _copy_of_the_tree() as tree:
        mutant.plant(tree)
        test = _first_failure(tree, mutant.first_tests)
        if not test and whole:
            test = _first_failure(tree, [])
    return Fate(mutant, test, monotonic() - began)


@contextmanager
def _copy_of_the_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="authsvc-mutant-") as name:
        tree = Path(name)
        for file in tracked_files():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, tree / file)
        (tree / ".venv").symlink_to(Path(sys.prefix))
        yield tree


def _first_failure(tree: Path, paths: list[str]) -> str:
    """The first test that fails in the tree; "" if all pass. Raises RuntimeError if pytest itself could not run."""
    command = [sys.executable, "-m", "pytest", "-x", "-m", CERTAIN, "-p", "no:cacheprovider", "--tb=no"]
    command += [f"--ignore={OURS}", *paths]  # the patch that is planted does not apply a second time
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as output:
        tests = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = tests.wait(LONGEST_RUN)
        except subprocess.TimeoutExpired:
            os.killpg(tests.pid, signal.SIGKILL)  # with the servers that the tests have started
            tests.wait()
            return "(the tests hung)"
        output.seek(0)
        told = output.read()
    if code == PASSED:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", told, re.MULTILINE)
    if failed is None:
        raise RuntimeError(f"pytest ended with {code}, and names no test:\n{told[-3000:]}")
    return failed[1]


def _tell(fate: Fate, count: int, of: int) -> None:
    outcome = f"caught by {fate.test}" if fate.is_caught else "SURVIVED"
    print(f"[{count}/{of}] {fate.mutant.name} ({fate.seconds:.0f} s): {outcome}", flush=True)


def _sum_up(fates: list[Fate], file: Path | None) -> int:
    caught = [fate for fate in fates if fate.is_caught]
    for fate in sorted(fates, key=lambda one: one.mutant.name):
        if not fate.is_caught:
            print(f"\nSurvived: {fate.mutant.name}\n  {fate.mutant.sentence}")
    share = len(caught) / len(fates)
    print(f"\n{len(caught)} of {len(fates)} caught ({share:.0%}); at least {ENOUGH:.0%} have to be.")
    if file is not None:
        rows = [{"mutant": one.mutant.name, "test": one.test, "seconds": round(one.seconds)} for one in fates]
        file.write_text(json.dumps(sorted(rows, key=str), indent=1) + "\n", encoding="utf-8")
    return 0 if share >= ENOUGH else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants whose names begin so, such as `gate` or `gate/any-`")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (one for each core)")
    parser.add_argument("--first-only", action="store_true", help="only run the tests that the patch names")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
