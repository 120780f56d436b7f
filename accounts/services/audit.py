"""What a row of the audit log contains: what changed, within bounds."""

from __future__ import annotations

import json
from typing import Any

from django.db import OperationalError, connection

from accounts.models import AuditEvent

MOST_BYTES = 4096  # for each of `before` and `after`
_WHOSE = {"user"}  # kept in a member's row, whose subject is the account
_CUT = "… left out: too long"


def changes(before: Any, after: Any) -> tuple[Any, Any]:
    """The two states without the values that are the same in both, each cut to MOST_BYTES."""
    if isinstance(before, dict) and isinstance(after, dict):
        same = {name for name in before.keys() & after.keys() if before[name] == after[name]} - _WHOSE
        before, after = ({name: one[name] for name in one if name not in same} for one in (before, after))
    return bounded(before), bounded(after)


def bounded(state: Any) -> Any:
    """The state without its longest values, if it is too long."""
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
    """The size of the log's table with its indexes; None if the database can't tell."""
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
            except OperationalError:  # SQLite was built without dbstat
                return None
        (size,) = cursor.fetchone()
    return int(size)
