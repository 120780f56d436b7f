"""Faults planted on purpose: each is a patch, with what it breaks and the tests that should notice first."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.servers import ROOT

HERE = Path(__file__).parent
CONTEXT_LINES = 1  # that have to be the same, so that a patch survives changes around its place
GIT_SECONDS = 60


@dataclass(frozen=True)
class Mutant:
    """One patch in tests/mutants/AREA/. Its first line is a sentence, its second `Tests:` and paths."""

    patch: Path

    @property
    def name(self) -> str:
        return str(self.patch.relative_to(HERE).with_suffix(""))

    @property
    def sentence(self) -> str:
        return self._lines[0]

    @property
    def first_tests(self) -> list[str]:
        """Paths of the tests that are run before all others."""
        _, _, paths = self._lines[1].partition("Tests:")
        return paths.split()

    @cached_property
    def _lines(self) -> list[str]:
        return self.patch.read_text(encoding="utf-8").splitlines()

    def fault(self, tree: Path) -> str:
        """Why the patch does not apply to a tree; "" if it does."""
        return self._apply(tree, "--check")

    def plant(self, tree: Path) -> None:
        """Raises ValueError if the patch does not apply."""
        if fault := self._apply(tree):
            raise ValueError(f"{self.name} does not apply: {fault}")

    def _apply(self, tree: Path, *options: str) -> str:
        # Without a repository of its own, git would look for one above the tree and skip files outside of it.
        command = ["git", "apply", f"-C{CONTEXT_LINES}", *options, str(self.patch)]
        done = subprocess.run(
            command,
            cwd=tree,
            env={"GIT_CEILING_DIRECTORIES": str(tree.parent), "PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
        )
        return "" if done.returncode == 0 else done.stderr.strip() or f"git ended with {done.returncode}"


def mutants(wanted: list[str] | None = None) -> list[Mutant]:
    """Every mutant, or those whose names begin with one of the wanted words, by name."""
    found = [Mutant(patch) for patch in sorted(HERE.glob("*/*.patch"))]
    return [one for one in found if not wanted or one.name.startswith(tuple(wanted))]


def tracked_files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
