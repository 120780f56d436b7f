"""Refused calls by reason, the most frequent first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.base.access import Action
from api.base.addresses import EXAMPLE_ACCOUNT, EXAMPLE_KEY
from api.base.fields import Output, Text
from api.base.operations import Operation, at
from api.base.paging import PageQuery, page_of
from api.base.resource import View
from api.usage import FullHour, Groups, selection_of
from quotas.usage.reading import GROUPS, UsageSelection
from quotas.usage.refusals import Position, RefusalRow, position, read_refusals

MOST_CALLS = 2**63 - 1


class RefusalsQuery(PageQuery):
    group_by = Groups(
        default=(), help_text="`account`, `key`, `model`, separated by commas: a row for each reason and combination."
    )
    since = FullHour(required=False, help_text="From this full hour on. Default: the beginning of the month.")
    until = FullHour(required=False, help_text="Before this full hour. Default: the end of the current hour.")
    account = Text(required=False, max_length=8, help_text="Only calls of this account.")
    external_id = Text(
        required=False, max_length=200, help_text="For operators: only calls of the account with this external id."
    )
    key = Text(required=False, max_length=16, help_text="Only calls of this key.")
    model = Text(required=False, max_length=63, help_text="Only calls to this model.")


class RefusingLimitOut(Output):
    per = serializers.CharField(help_text="`account` or `key`.")
    model = serializers.CharField(help_text="`*` for a limit of all models together.")
    unit = serializers.CharField()
    window = serializers.CharField()


class RefusalOut(Output):
    """Calls refused for one reason. Fields that they are not grouped by are absent."""

    example = {
        "reason": "over_limit",
        "limit": {"per": "key", "model": "*", "unit": "requests", "window": "minute"},
        "account": EXAMPLE_ACCOUNT,
        "key": EXAMPLE_KEY,
        "model": "en_core_web_sm",
        "calls": 12,
    }

    reason = serializers.CharField(help_text="The verdict's word, as in the gate's log.")
    limit = RefusingLimitOut(
        allow_null=True,
        help_text="With `over_limit`: the limit that refused; of several, the one with the longest wait.",
    )
    account = serializers.CharField(required=False)
    key = serializers.CharField(required=False)
    model = serializers.CharField(required=False, help_text="`-` for calls that were for no known model.")
    calls = serializers.IntegerField()


@at("usage/refusals/", name="refusals")
class RefusalsReport(View):
    @Operation(
        id="read_refusals", tag="usage", who=(Action.READ_USAGE,), query=RefusalsQuery, answer=RefusalOut, is_list=True
    )
    def get(self, request: Request) -> Response:
        """Read why calls were refused, the most frequent reason first."""
        selection = selection_of(self.caller, {"interval": "total", "order": "time", **self.read_query()})
        page = page_of(request, RefusalRows(selection))
        return page.answer([shown(row, selection) for row in page.rows])


@dataclass(frozen=True, slots=True)
class RefusalRows:
    """The rows of a selection, for paging: a row's place is its count, its reason and the values of its groups."""

    selection: UsageSelection

    def fetch(self, place: Position | None, *, backwards: bool, most: int) -> list[RefusalRow]:
        return read_refusals(self.selection, most=most, after=place, backwards=backwards)

    def place_of(self, row: RefusalRow) -> Sequence[Any]:
        return position(self.selection, row)

    def read_place(self, values: Sequence[Any]) -> Position:
        calls, *texts = values
        are_texts = all(isinstance(text, str) and text.isascii() and "\0" not in text for text in texts)
        if type(calls) is not int or not 0 <= calls <= MOST_CALLS or not are_texts:
            raise ValueError
        if len(texts) != 2 + len(self.selection.groups):
            raise ValueError
        return calls, *texts


def shown(row: RefusalRow, selection: UsageSelection) -> dict[str, Any]:
    limit = row.limit and {
        "per": row.limit.scope,
        "model": row.limit.model,
        "unit": row.limit.unit,
        "window": row.limit.window,
    }
    groups = {group: getattr(row, group) for group in GROUPS if group in selection.groups}
    return {"reason": row.reason, "limit": limit, **groups, "calls": row.calls}
