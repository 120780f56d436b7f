"""Reads which keys, models or accounts used most."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from django.db import connection

from quotas.usage.days import USAGE, complete_since
from quotas.usage.reading import SUMS, UsageRow, UsageSelection, all_of, parts_of, row_of


class MostUsed(NamedTuple):
    """The first of a ranking, and how many there are in all."""

    rows: list[UsageRow]
    in_all: int


def read_most_used(selection: UsageSelection, *, most: int) -> MostUsed:
    """Totals of each group, those with the most allowed calls first, then by refused ones. Counts in one statement."""
    selection = replace(selection, interval="total")
    parts = list(parts_of(selection, USAGE, complete_since()))
    if not parts:
        return MostUsed([], 0)
    usage, values = all_of(selection, parts)
    groups = ", ".join(f'"{group}"' for group in selection.groups)
    statement = (  # made of names in this file and in reading.py
        f"SELECT {groups}, {SUMS}, COUNT(*) OVER () FROM {usage} GROUP BY {groups} "  # noqa: S608
        f"ORDER BY SUM(allowed) DESC, SUM(refused) DESC, {groups} LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, most])
        found = cursor.fetchall()
    return MostUsed([row_of(selection, row[:-1]) for row in found], int(found[0][-1]) if found else 0)
