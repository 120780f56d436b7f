"""Usage of keys, models and accounts, by hour, day or month or in total: paginated JSON, or one CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Q, Value
from django.db.models.functions import Coalesce, NullIf
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from api.base.access import Action, Caller, allowed_to, find_account
from api.base.addresses import EXAMPLE_ACCOUNT, EXAMPLE_KEY
from api.base.fields import Moment, Output, Text
from api.base.operations import Operation, at
from api.base.paging import PageQuery, page_of
from api.base.resource import View
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
_AS_CSV = "start,end,allowed,refused,shadow_refused,units\r\n2030-11-22T00:00:00Z,2030-11-23T00:00:00Z,120,3,0,600\r\n"


class Groups(serializers.Field):  # type: ignore[type-arg]
    """Some of account, key and model, separated by commas."""

    def to_internal_value(self, data: Any) -> Any:
        wanted = [word for word in str(data).split(",") if word]
        unknown = [word for word in wanted if word not in GROUPS]
        if unknown or len(set(wanted)) < len(wanted):
            raise ValidationError(f"Send some of {', '.join(GROUPS)}, separated by commas, each at most once.")
        return tuple(wanted)

    def to_representation(self, value: Any) -> Any:
        return ",".join(value)


class FullHour(Moment):
    """A time at which an hour begins. Usage is kept by the hour and never estimated for part of one."""

    def to_internal_value(self, value: Any) -> Any:
        moment = super().to_internal_value(value)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValidationError(f"The year must be from {FIRST_YEAR} to {LAST_YEAR}.")
        if not is_full_hour(moment):
            raise ValidationError("Usage is kept by the hour. Send a full hour in UTC, such as 2030-01-31T12:00:00Z.")
        return moment


class UsageQuery(PageQuery):
    interval = serializers.ChoiceField(
        choices=INTERVALS, default="day", help_text="What to sum up: an hour, a UTC day or month, or everything."
    )
    group_by = Groups(
        default=(), help_text="`account`, `key`, `model`, separated by commas: a row for each combination."
    )
    since = FullHour(required=False, help_text="From this full hour on. Default: the beginning of the month.")
    until = FullHour(required=False, help_text="Before this full hour. Default: the end of the current hour.")
    account = Text(required=False, max_length=8, help_text="Only usage of this account.")
    external_id = Text(
        required=False, max_length=200, help_text="For operators: only usage of the account with this external id."
    )
    key = Text(required=False, max_length=16, help_text="Only usage of this key.")
    model = Text(required=False, max_length=63, help_text="Only usage of this model.")
    order = serializers.ChoiceField(choices=("time", "-time"), default="time", help_text="`-time`: newest first.")
    format = serializers.ChoiceField(
        choices=("json", "csv"), required=False, help_text="Instead of the `Accept` header."
    )


class UsageOut(Output):
    """A row. Fields that it is not grouped by are absent; only operators see `external_id`."""

    example = {
        "start": "2030-11-22T00:00:00Z",
        "end": "2030-11-23T00:00:00Z",
        "account": EXAMPLE_ACCOUNT,
        "external_id": "customer-4711",
        "key": EXAMPLE_KEY,
        "model": "en_core_web_sm",
        "allowed": 120,
        "refused": 3,
        "shadow_refused": 0,
        "units": 600,
    }

    start = Moment()
    end = Moment()
    account = serializers.CharField(required=False)
    external_id = serializers.CharField(required=False, allow_null=True)
    key = serializers.CharField(required=False)
    model = serializers.CharField(required=False, help_text="`-` for refused calls that were for no known model.")
    allowed = serializers.IntegerField()
    refused = serializers.IntegerField()
    shadow_refused = serializers.IntegerField(help_text="Allowed calls that a shadow limit would have refused.")
    units = serializers.IntegerField(help_text="Calls weighted by the costs of their models.")


@at("usage/", name="usage")
class UsageReport(View):
    renderer_classes = (JSONRenderer, Csv)

    @Operation(
        id="read_usage",
        tag="usage",
        who=(Action.READ_USAGE,),
        query=UsageQuery,
        answer=UsageOut,
        is_list=True,
        also_as={"text/csv": _AS_CSV},
    )
    def get(self, request: Request) -> Response | StreamingHttpResponse:
        """Read how many calls were allowed and refused, and how many units they cost."""
        selection = selection_of(self.caller, self.read_query())
        columns = columns_of(self.caller, selection)
        if request.accepted_renderer.format == "csv":
            return streamed(request, "usage.csv", columns, rows_shown(read_all(selection), columns))
        page = page_of(request, UsageRows(selection))
        return page.answer(list(rows_shown(page.rows, columns)))


def selection_of(caller: Caller, query: dict[str, Any]) -> UsageSelection:
    """The usage that was asked for, of accounts that the caller may see."""
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
        start=since,
        end=until,
        interval=query["interval"],
        groups=query["group_by"],
        accounts=accounts,
        keys=(key,) if key else (),
        models=(query["model"],) if query.get("model") else (),
        newest_first=query["order"] == "-time",
    )


def _accounts_of(caller: Caller, query: dict[str, Any]) -> tuple[str, ...] | None:
    """None for an operator who asks for all accounts."""
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
    """Operators see an account's external id beside ours."""
    groups = [group for group in GROUPS if group in selection.groups]
    if caller.is_operator and "account" in groups:
        groups.insert(1, "external_id")
    return ("start", "end", *groups, *COUNTS)


@dataclass(frozen=True, slots=True)
class UsageRows:
    """The rows of a selection, for paging: a row's place is its interval and the values of its groups."""

    selection: UsageSelection

    def fetch(self, place: Position | None, *, backwards: bool, most: int) -> list[UsageRow]:
        turned = replace(self.selection, newest_first=self.selection.newest_first is not backwards)
        return read_usage(turned, most=most, after=place)

    def place_of(self, row: UsageRow) -> Sequence[Any]:
        moment, groups = self.selection.position(row)
        return moment.isoformat(), groups

    def read_place(self, values: Sequence[Any]) -> Position:
        moment, groups = values
        at = datetime.fromisoformat(moment).astimezone(UTC)
        is_near = self.selection.start - LONGEST_INTERVAL <= at <= self.selection.end
        fits = len(groups) == len(self.selection.groups) and all(
            isinstance(one, str) and one.isascii() and "\0" not in one for one in groups
        )
        if not fits or not is_near:
            raise ValueError
        return at, tuple(groups)


def rows_shown(rows: Iterable[UsageRow], columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Rows as the API shows them. External ids are fetched for many rows at a time."""
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_AT_ONCE)):
        names = _external_ids(some) if "external_id" in columns else {}
        for row in some:
            values = {**row._asdict(), "external_id": names.get(row.account or "")}
            values |= {end: Moment().to_representation(values[end]) for end in ("start", "end")}
            yield {column: values[column] for column in columns}


def _external_ids(rows: Sequence[UsageRow]) -> dict[str, str | None]:
    accounts = {row.account for row in rows if row.account}
    known_by = Coalesce("external_id", NullIf("former_external_id", Value("")))
    return dict(Account.objects.filter(public_id__in=accounts).values_list("public_id", known_by))
