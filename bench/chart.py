"""The chart of results: CPU time for each answer, a group for each contest, a bar for each subject, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from bench.report import ROLES

Json = Mapping[str, Any]

WIDTH, LEFT, RIGHT = 760, 230, 90
TITLE, BAR, GAP = 34, 20, 5
BOTTOM = 40
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2933 }
  .title { font-weight: 600 }
  .number { font-variant-numeric: tabular-nums }
  .server { fill: #3f51b5 } .redis { fill: #e07a3f } .traefik { fill: #8aa4c8 } .client { fill: #3f51b5 }
  @media (prefers-color-scheme: dark) { text { fill: #e4e7eb } .server, .client { fill: #7f8de1 } }
"""


def drawn(contests: Sequence[Json]) -> str:
    """Each group has a scale of its own, because between groups nothing is comparable."""
    parts: list[str] = []
    top = 10
    for contest in contests:
        parts += _group(contest, top)
        top += _height(contest)
    parts += _legend(contests, top + 20)
    name = "Microseconds of CPU time for each answer"
    box = f'viewBox="0 0 {WIDTH} {top + BOTTOM}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{name}">'
    return "\n".join([head, f"<title>{name}</title>", f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _height(contest: Json) -> int:
    return TITLE + len(contest["rows"]) * (BAR + GAP)


def _group(contest: Json, top: int) -> Iterator[str]:
    yield f'<text class="title" x="0" y="{top + 20}">{escape(contest["title"])}</text>'
    most = max(row["cpu_together"]["median"] for row in contest["rows"])
    for number, row in enumerate(contest["rows"]):
        yield from _bar(row, top + TITLE + number * (BAR + GAP), (WIDTH - LEFT - RIGHT) / most)


def _bar(row: Json, top: int, scale: float) -> Iterator[str]:
    yield f'<text x="{LEFT - 10}" y="{top + 15}" text-anchor="end">{escape(row["name"])}</text>'
    left = float(LEFT)
    for role in _roles(row):
        width = row["cpu"][role]["median"] * scale
        yield f'<rect class="{role}" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}"/>'
        left += width
    together = row["cpu_together"]["median"]
    yield f'<text class="number" x="{left + 8:.1f}" y="{top + 15}">{together:,.0f} µs</text>'


def _legend(contests: Sequence[Json], top: int) -> Iterator[str]:
    used = {role for contest in contests for row in contest["rows"] for role in _roles(row)}
    for number, role in enumerate(role for role in ROLES if role in used):
        left = LEFT + number * 100
        yield f'<rect class="{role}" x="{left}" y="{top}" width="12" height="12"/>'
        yield f'<text x="{left + 18}" y="{top + 11}">{role}</text>'


def _roles(row: Json) -> list[str]:
    return [role for role in ROLES if role in row["cpu"]]
