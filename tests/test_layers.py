"""Imports go down only, and no room outgrows the house: docs/architecture.md draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT

# Each room may import from the rooms to the right of its own and from itself; rooms of one place do not know each other.
PLACES = (
    ("authsvc",),
    ("console", "api", "traefik"),
    ("authsvc.gate",),
    ("accounts",),
    ("quotas",),
    ("runtime",),
    ("store",),
)
HEIGHT = {room: len(PLACES) - place for place, rooms in enumerate(PLACES) for room in rooms}
FOLDERS = sorted({room.partition(".")[0] for room in HEIGHT})

LARGEST_SHARE = 0.35  # of the product's lines, for one top-level folder
LONGEST_FILE = 400


def product() -> Iterator[Path]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in file.parts:
                yield file


def lines_of(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def room_of(module: str) -> str | None:
    if f"{module}.".startswith("authsvc.gate."):
        return "authsvc.gate"
    folder = module.partition(".")[0]
    return folder if folder in HEIGHT else None


def is_door(file: Path) -> bool:
    """Commands and admin pages look down from where they stand, which is in front of everything but the project."""
    inside = file.relative_to(ROOT).parts
    return "commands" in inside or "admin" in inside or file.name == "admin.py"


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Each import, inside functions and `TYPE_CHECKING` as well, with its line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports by dots"
            assert node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def climbs(file: Path) -> Iterator[str]:
    own = room_of(module_of(file))
    assert own
    for line, module in imports_of(file):
        other = room_of(module)
        if other and other != own and HEIGHT[other] >= HEIGHT[own]:
            yield f"{file.relative_to(ROOT)}:{line} ({own}) imports {module} ({other})"


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_down_only(folder):
    files = [file for file in product() if file.is_relative_to(ROOT / folder)]
    assert files
    assert not [climb for file in files if not is_door(file) for climb in climbs(file)]


def test_doors_know_everything_but_the_project():
    for door in filter(is_door, product()):
        own = room_of(module_of(door))
        for line, module in imports_of(door):
            assert own == "authsvc" or room_of(module) != "authsvc", f"{door}:{line}"


def test_every_folder_of_code_has_a_place():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "samples", "bench", "deploy"} == set(FOLDERS)


def test_no_folder_is_most_of_the_house():
    sizes = dict.fromkeys(FOLDERS, 0)
    for file in product():
        sizes[file.relative_to(ROOT).parts[0]] += lines_of(file)
    assert max(sizes.values()) <= LARGEST_SHARE * sum(sizes.values()), sizes


def test_no_file_is_a_scroll():
    assert [module_of(file) for file in product() if lines_of(file) > LONGEST_FILE] == []


def test_each_class_has_a_name_of_its_own():
    """A word is one thing. Django finds a command and a migration by the name of its class."""
    homes: dict[str, list[str]] = {}
    for file in product():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name != "Command":
                homes.setdefault(node.name, []).append(module_of(file))
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}
