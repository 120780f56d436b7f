"""Rows of the audit log: what changed, and no more of it than helps."""

from __future__ import annotations

import json
from typing import Any

from django.db import OperationalError, connection

from accounts.models import AuditEvent

MOST_BYTES = 4096  # of what a row says of before, and of after
_WHOSE = {"user"}  # of a member's row, whose subject is the account
_CUT = "… left out: too long"


def changes(before: Any, after: Any) -> tuple[Any, Any]:
    """The two states without what is the same in both, each cut to a bounded size."""
    if isinstance(before, dict) and isinstance(after, dict):
        same = {name for name in before.keys() & after.keys() if before[name] == after[name]} - _WHOSE
        before, after = ({name: one[name] for name in one if name not in same} for one in (before, after))
    return bounded(before), bounded(after)


def bounded(state: Any) -> Any:
    """The state; the longest values left out where it is too long."""
    if not isinstance(state, dict):
        return state
    sizes = {name: len(json.dumps(value, default=str)) for name, value in state.items()}
    cut: dict[str, Any] = dict(state)
    for name in sorted(sizes, key=lambda one: -sizes[one]):
        if sum(sizes.values()) <= MOST_BYTES:
            break
        cut[name], sizes[name] = _CUT, len(_CUT)
    return cut


def table_bytes() -> int | None:
    """How large the log's table is with its indexes; None if the database does not tell."""
    table = AuditEvent._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_total_relation_size(%s::regclass)", [table])
        else:
            try:
                cursor.execute(
                    "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = %s)",
                    [table],
                )
            except OperationalError:  # built without it
                return None
        (size,) = cursor.fetchone()
    return int(size)
