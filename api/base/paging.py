"""Lists in pages. A cursor names the row that the next page starts after, so rows added or removed meanwhile never make
a page skip or repeat others (keyset pagination)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from api.base.fields import Input, Text, WholeText

PAGE_SIZE, MOST_ON_A_PAGE = 100, 500
LONGEST_CURSOR = 1000

Row = TypeVar("Row")
Place = TypeVar("Place")


class PageQuery(Input):
    """The parameters of every list. A list's own query adds its filters and its `order`."""

    # Words of `?order=` → the field, which is never null. A "-" before the word reverses the order.
    orders: ClassVar[Mapping[str, str]] = {"created": "id"}

    cursor = Text(required=False, max_length=LONGEST_CURSOR, help_text="From `next` or `previous` of a page.")
    page_size = WholeText(required=False, min_value=1, max_value=MOST_ON_A_PAGE, help_text="Rows on a page.")


class Keyset(Protocol[Row, Place]):
    """Rows in an order in which each has a place of its own."""

    def fetch(self, place: Place | None, *, backwards: bool, most: int) -> list[Row]:
        """The rows after the place, nearest first; with `backwards` those before it."""

    def place_of(self, row: Row) -> Sequence[Any]:
        """A row's place, as values that JSON can represent."""

    def read_place(self, values: Sequence[Any]) -> Place:
        """A place from such values. They come from a client: raises ValueError or TypeError for any others."""


@dataclass(frozen=True, slots=True)
class RowsPage(Generic[Row]):
    rows: list[Row]
    next: str | None
    previous: str | None

    def answer(self, results: Any) -> Response:
        return Response({"next": self.next, "previous": self.previous, "results": results})


def page_of(request: Request, keyset: Keyset[Row, Place]) -> RowsPage[Row]:
    """The page that `?cursor=` and `?page_size=` ask for. Raises ValidationError for a cursor that we did not make."""
    place, backwards = _read_cursor(request, keyset)
    size = int(request.query_params.get("page_size") or PAGE_SIZE)
    found = keyset.fetch(place, backwards=backwards, most=size + 1)
    has_more, rows = len(found) > size, found[:size]
    if backwards:
        rows.reverse()
    comes_before = has_more if backwards else place is not None
    comes_after = backwards or has_more
    return RowsPage(
        rows,
        _link(request, keyset.place_of(rows[-1]), backwards=False) if rows and comes_after else None,
        _link(request, keyset.place_of(rows[0]), backwards=True) if rows and comes_before else None,
    )


def _link(request: Request, place: Sequence[Any], *, backwards: bool) -> str:
    packed = json.dumps([*place, backwards], separators=(",", ":")).encode()
    return replace_query_param(request.build_absolute_uri(), "cursor", urlsafe_b64encode(packed).decode().rstrip("="))


def _read_cursor(request: Request, keyset: Keyset[Any, Any]) -> tuple[Any, bool]:
    text = request.query_params.get("cursor")
    if text is None:
        return None, False
    try:
        *values, backwards = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if type(backwards) is not bool:
            raise ValueError
        return keyset.read_place(values), backwards
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        words = "Take the cursor from `next` or `previous` of a page, and keep the rest of the query."
        raise ValidationError({"cursor": words}) from error


class RowPlace(NamedTuple):
    """The value that the rows are ordered by, and the primary key for rows of equal value."""

    value: Any
    pk: int


@dataclass(frozen=True, slots=True)
class OrderedRows:
    """A queryset ordered by a field that is never null; rows of equal value are in the order of their creation."""

    rows: QuerySet[Any]
    field: str
    descends: bool

    def fetch(self, place: RowPlace | None, *, backwards: bool, most: int) -> list[Any]:
        sign, beyond = ("-", "lt") if self.descends is not backwards else ("", "gt")
        if self.field == "id":
            rows = self.rows.order_by(f"{sign}id")
            after = Q(**{f"id__{beyond}": place.pk}) if place else Q()
        else:
            rows = self.rows.order_by(f"{sign}{self.field}", f"{sign}id")
            after = self._after(place, beyond) if place else Q()
        return list(rows.filter(after)[:most])

    def _after(self, place: RowPlace, beyond: str) -> Q:
        equal = Q(**{self.field: place.value, f"id__{beyond}": place.pk})
        return Q(**{f"{self.field}__{beyond}": place.value}) | equal

    def place_of(self, row: Any) -> Sequence[Any]:
        return None if self.field == "id" else _plain(getattr(row, self.field)), row.pk

    def read_place(self, values: Sequence[Any]) -> RowPlace:
        value, pk = values
        if type(pk) is not int or not 0 <= pk < 2**63:
            raise ValueError
        return RowPlace(self._value(value), pk)

    def _value(self, value: Any) -> Any:
        if self.field == "id":
            return None
        if not isinstance(value, str) or "\0" in value:
            raise ValueError
        value.encode()  # raises ValueError for a lone surrogate
        return datetime.fromisoformat(value) if self.field.endswith("_at") or self.field == "at" else value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
