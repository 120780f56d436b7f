"""Lists in pages: a cursor holds the place after which the next page begins, so pages neither skip nor repeat rows."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from api.base.fields import Strict, Text, WholeText

PAGE_SIZE, MOST_ON_A_PAGE = 100, 500
LONGEST_CURSOR = 1000


class PageQuery(Strict):
    """The parameters of every list; a list's own form adds its filters and its `order`."""

    cursor = Text(required=False, max_length=LONGEST_CURSOR, help_text="From `next` or `previous` of a page.")
    page_size = WholeText(required=False, min_value=1, max_value=MOST_ON_A_PAGE, help_text="Rows on a page.")


class Place(NamedTuple):
    """A row's place in the order, and whether the page begins after it or ends before it."""

    value: Any
    pk: int
    backwards: bool


class Pages(BasePagination):
    """`?cursor=` and `?page_size=`. Rows of equal value are in the order of their making."""

    # Words of `?order=` → the field, which is never null; "-" before a word turns it round.
    orders: ClassVar[Mapping[str, str]] = {"created": "id"}

    def __init__(self, order: str = "-created") -> None:
        self.field = self.orders[order.lstrip("-")]
        self.down = order.startswith("-")
        self.next = self.previous = ""

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        place, size = self._place(request), int(request.query_params.get("page_size") or PAGE_SIZE)
        turned = place is not None and place.backwards
        rows = list(self._after(queryset, place, self.down is not turned)[: size + 1])
        has_more, rows = len(rows) > size, rows[:size]
        if turned:
            rows.reverse()
        if rows and (turned or has_more):
            self.next = self._link(request, rows[-1], backwards=False)
        if rows and (has_more if turned else place is not None):
            self.previous = self._link(request, rows[0], backwards=True)
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self.next or None, "previous": self.previous or None, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": ["next", "previous", "results"], "properties": properties}

    def _after(self, rows: QuerySet[Any], place: Place | None, down: bool) -> QuerySet[Any]:
        sign, beyond = ("-", "lt") if down else ("", "gt")
        if self.field == "id":
            rows = rows.order_by(f"{sign}id")
            return rows.filter(**{f"id__{beyond}": place.pk}) if place else rows
        rows = rows.order_by(f"{sign}{self.field}", f"{sign}id")
        if place is None:
            return rows
        after = Q(**{f"{self.field}__{beyond}": place.value}) | Q(
            **{self.field: place.value, f"id__{beyond}": place.pk}
        )
        return rows.filter(after)

    def _link(self, request: Request, row: Any, *, backwards: bool) -> str:
        value = None if self.field == "id" else _plain(getattr(row, self.field))
        packed = json.dumps([value, row.pk, backwards], separators=(",", ":")).encode()
        cursor = urlsafe_b64encode(packed).decode().rstrip("=")
        return replace_query_param(request.build_absolute_uri(), "cursor", cursor)

    def _place(self, request: Request) -> Place | None:
        """Where the cursor says; one that we did not make is told so, rather than being an error of the database."""
        text = request.query_params.get("cursor")
        if text is None:
            return None
        try:
            value, pk, backwards = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if type(pk) is not int or not 0 <= pk < 2**63 or type(backwards) is not bool:
                raise ValueError
            return Place(self._value(value), pk, backwards)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValidationError(
                {"cursor": "Take it from `next` or `previous` of a page, and keep the order."}
            ) from error

    def _value(self, value: Any) -> Any:
        if self.field == "id":
            return None
        if not isinstance(value, str) or "\0" in value:
            raise ValueError
        value.encode()  # a lone surrogate is no text
        return datetime.fromisoformat(value) if self.field.endswith("_at") or self.field == "at" else value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def order_of(query: Mapping[str, Any], default: str = "-created") -> str:
    return str(query.get("order", default))
