"""`column IN values` with a single parameter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db.models import F, Lookup


def among(column: str, values: Iterable[str] | Iterable[int]) -> Among:
    """The condition that a column has one of these values, for `filter`.

    Django's own `in` makes a parameter of each value. For thousands of them that takes longer than the query itself,
    and SQLite refuses more than it was built for.
    """
    return Among(F(column), tuple(values))


class Among(Lookup):  # type: ignore[type-arg]  # generic only to the checker
    lookup_name = "among"
    prepare_rhs = False

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", [*parameters, list(self.rhs)]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} IN (SELECT value FROM json_each(%s))", [*parameters, json.dumps(self.rhs)]  # noqa: S608
