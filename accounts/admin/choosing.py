"""Choosing one row of a table that may be large."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.http import HttpRequest

_PRIMARY_KEY = re.compile("[0-9]{1,18}", re.ASCII)


def as_primary_key(text: str) -> int | None:
    """A posted primary key; None if it cannot be one."""
    return int(text) if _PRIMARY_KEY.fullmatch(text) else None


class RowSelect(AutocompleteSelect):
    """Django's own, which answers a value that is no primary key with an internal error instead of the form's."""

    def optgroups(self, name: str, value: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        return super().optgroups(name, [one for one in value if as_primary_key(one) is not None], *args, **kwargs)


class ChoosesRows:
    """For pages with `autocomplete_fields`."""

    def formfield_for_foreignkey(self: Any, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", RowSelect(db_field, self.admin_site))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]
