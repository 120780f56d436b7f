"""Usage: by hour, day or month, or in one sum, for keys, models and accounts; as JSON in pages or as CSV at once."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Q, Value
from django.db.models.functions import Coalesce, NullIf
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from accounts.models import Account
from api.base.access import Action, Caller, allowed_to, find_account
from api.base.fields import AnySerializer, Moment, Text
from api.base.paging import PAGE_SIZE, PageQuery
from api.base.resource import View, query_of
from api.base.sheets import ROWS_AT_ONCE, Csv, streamed
from quotas.usage.reading import (
    GROUPS,
    HOUR,
    INTERVALS,
    Position,
    UsageRow,
    UsageSelection,
    is_full_hour,
    month_start,
    read_all,
    read_usage,
)

FIRST_YEAR, LAST_YEAR = 1970, 2199
LONGEST_INTERVAL = timedelta(days=31)
COUNTS = ("allowed", "refused", "shadow_refused", "units")


class Usage(View):
    renderer_classes = (JSONRenderer, Csv)

    def get(self, request: Request) -> Response | StreamingHttpResponse:
        """What was allowed and refused, and how many units were taken."""
        query = query_of(request, UsageQuery)
        selection = selection_of(self.caller, query)
        columns = columns_of(self.caller, selection)
        if request.accepted_renderer.format == "csv":
            return streamed(request, "usage.csv", columns, _dicts(selection, columns))
        page = _page(request, selection, int(query.get("page_size") or PAGE_SIZE))
        results = [_shown(row, columns, names) for row, names in _with_external_ids(page.rows, columns)]
        return Response({"next": page.next, "previous": page.previous, "results": results})


def selection_of(caller: Caller, query: dict[str, Any]) -> UsageSelection:
    """What is asked, of no other accounts than the caller may see."""
    now = timezone.now()
    until = query.get("until") or now.replace(minute=0, second=0, microsecond=0) + HOUR
    since = query.get("since") or month_start(until - HOUR)
    if since >= until:
        raise ValidationError({"until": "This is not after `since`."})
    accounts = _accounts_of(caller, query)
    key = query.get("key")
    if key and accounts is not None and key[:8] not in accounts:
        raise Http404  # a key's id begins with its account's
    return UsageSelection(
        start=since, end=until, interval=query["interval"], groups=query["group_by"], accounts=accounts,
        keys=(key,) if key else (), models=(query["model"],) if query.get("model") else (),
        newest_first=query["order"] == "-time",
    )  # fmt: skip


def _accounts_of(caller: Caller, query: dict[str, Any]) -> tuple[str, ...] | None:
    """None for an operator who asks for all."""
    caller.require(Action.READ_USAGE)
    sees_all = caller.is_operator and caller.may(Action.READ_USAGE, None)
    if account := query.get("account"):
        return (find_account(caller, Action.READ_USAGE, account).public_id,)
    if external_id := query.get("external_id"):
        # A customer who was erased and came back has two accounts and gets one invoice.
        rows = Account.objects.filter(Q(external_id=external_id) | Q(former_external_id=external_id))
        found = tuple(rows.values_list("public_id", flat=True)) if sees_all else ()
        if not found:
            raise Http404
        return found
    if sees_all:
        return None
    return tuple(allowed_to(caller, Action.READ_USAGE, Account.objects.all()).values_list("public_id", flat=True))


def columns_of(caller: Caller, selection: UsageSelection) -> tuple[str, ...]:
    """Operators get their own system's name of an account beside ours."""
    groups = [group for group in GROUPS if group in selection.groups]
    if caller.is_operator and "account" in groups:
        groups.insert(1, "external_id")
    return ("start", "end", *groups, *COUNTS)


class _Page(NamedTuple):
    rows: list[UsageRow]
    next: str | None
    previous: str | None


def _page(request: Request, selection: UsageSelection, size: int) -> _Page:
    after, backwards = _place(request, selection)
    asked = replace(selection, newest_first=selection.newest_first is not backwards)
    found = read_usage(asked, most=size + 1, after=after)
    has_more, rows = len(found) > size, found[:size]
    if backwards:
        rows.reverse()
    comes_before = has_more if backwards else after is not None
    comes_after = backwards or has_more
    return _Page(
        rows,
        _link(request, selection.position(rows[-1]), backwards=False) if rows and comes_after else None,
        _link(request, selection.position(rows[0]), backwards=True) if rows and comes_before else None,
    )


def _link(request: Request, position: Position, *, backwards: bool) -> str:
    packed = json.dumps([position[0].isoformat(), list(position[1]), backwards], separators=(",", ":")).encode()
    return replace_query_param(request.build_absolute_uri(), "cursor", urlsafe_b64encode(packed).decode().rstrip("="))


def _place(request: Request, selection: UsageSelection) -> tuple[Position | None, bool]:
    text = request.query_params.get("cursor")
    if text is None:
        return None, False
    try:
        moment, groups, backwards = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        at = datetime.fromisoformat(moment).astimezone(UTC)
        fits = len(groups) == len(selection.groups) and all(isinstance(one, str) and one.isascii() for one in groups)
        is_near = selection.start - LONGEST_INTERVAL <= at <= selection.end
        if not fits or not is_near or type(backwards) is not bool or "\0" in "".join(groups):
            raise ValueError
        return (at, tuple(groups)), backwards
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise ValidationError({"cursor": "Take it from `next` or `previous` of a page, and keep the query."}) from error


def _with_external_ids(
    rows: Iterable[UsageRow], columns: tuple[str, ...]
) -> Iterator[tuple[UsageRow, dict[str, str | None]]]:
    """Rows with their accounts' external ids, fetched together."""
    rows = list(rows)
    names: dict[str, str | None] = {}
    if "external_id" in columns:
        accounts = {row.account for row in rows if row.account}
        known_by = Coalesce("external_id", NullIf("former_external_id", Value("")))
        names = dict(Account.objects.filter(public_id__in=accounts).values_list("public_id", known_by))
    return ((row, names) for row in rows)


def _shown(row: UsageRow, columns: tuple[str, ...], names: dict[str, str | None]) -> dict[str, Any]:
    values = {**row._asdict(), "external_id": names.get(row.account or "")}
    values |= {end: Moment().to_representation(values[end]) for end in ("start", "end")}
    return {column: values[column] for column in columns}


def _dicts(selection: UsageSelection, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    rows = read_all(selection)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        for row, names in _with_external_ids(some, columns):
            yield _shown(row, columns, names)


class Groups(serializers.Field):  # type: ignore[type-arg]
    """Some of account, key and model, with commas."""

    def to_internal_value(self, data: Any) -> Any:
        wanted = [word for word in str(data).split(",") if word]
        unknown = [word for word in wanted if word not in GROUPS]
        if unknown or len(set(wanted)) < len(wanted):
            raise ValidationError(f"Write some of {', '.join(GROUPS)}, with commas between them.")
        return tuple(wanted)

    def to_representation(self, value: Any) -> Any:
        return ",".join(value)


class FullHour(Moment):
    """A time at which an hour begins: usage is kept by the hour, and is not guessed for a part of one."""

    def to_internal_value(self, value: Any) -> Any:
        moment = super().to_internal_value(value)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValidationError(f"Write a year from {FIRST_YEAR} to {LAST_YEAR}.")
        if not is_full_hour(moment):
            raise ValidationError("Usage is kept by the hour: write a full hour of UTC, such as 2030-01-31T12:00:00Z.")
        return moment


class UsageQuery(PageQuery):
    interval = serializers.ChoiceField(
        choices=INTERVALS, default="day", help_text="What is added up: an hour, a UTC day or month, or all of it."
    )
    group_by = Groups(default=(), help_text="`account`, `key`, `model`, with commas: a row for each.")
    since = FullHour(required=False, help_text="From this full hour on; the beginning of the month if it is left out.")
    until = FullHour(required=False, help_text="Before this full hour; the end of this hour if it is left out.")
    account = Text(required=False, max_length=8, help_text="Only this account's.")
    external_id = Text(
        required=False, max_length=200, help_text="For operators: only the account of this id of theirs."
    )
    key = Text(required=False, max_length=16, help_text="Only this key's.")
    model = Text(required=False, max_length=63, help_text="Only this model's.")
    order = serializers.ChoiceField(choices=("time", "-time"), default="time", help_text="`-time`: newest first.")
    format = serializers.ChoiceField(choices=("json", "csv"), required=False, help_text="As `Accept` would say.")


class UsageOut(AnySerializer):
    """A row. What it was not grouped by is not there; `external_id` is for operators alone."""

    start = Moment()
    end = Moment()
    account = serializers.CharField(required=False)
    external_id = serializers.CharField(required=False, allow_null=True)
    key = serializers.CharField(required=False)
    model = serializers.CharField(required=False, help_text="`-` where a refused call was for no model.")
    allowed = serializers.IntegerField()
    refused = serializers.IntegerField()
    shadow_refused = serializers.IntegerField(help_text="Allowed calls that a limit in shadow would have refused.")
    units = serializers.IntegerField(help_text="Calls weighted by their models' costs.")
