"""Pages of large tables. Counting every row of millions takes seconds, and nobody reads page 7,000."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy

from accounts.admin.acts import AnyAdmin

if TYPE_CHECKING:  # generic only in the stubs (docs/decisions/0027)
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

MOST_COUNTED = 10_000


class BoundedPaginator(AnyPaginator):
    """Counts up to a bound. What lies beyond is found by search and filters, not by leafing."""

    @cached_property
    def counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: MOST_COUNTED + 1].count())

    @property
    def count(self) -> int:
        return min(self.counted, MOST_COUNTED)

    @property
    def has_more(self) -> bool:
        return self.counted > MOST_COUNTED


class LargeTableAdmin(AnyAdmin):
    """For tables that grow with usage. A list without a filter asks for nothing but its page and a bounded count."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole table


class WhenFilter(admin.SimpleListFilter):
    """Rows of a time. Django's hierarchy of dates looks at every row to find out which months there are."""

    title = gettext_lazy("when")
    parameter_name = "when"
    field: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("hour", gettext_lazy("Last hour")),
            ("today", gettext_lazy("Today")),
            ("yesterday", gettext_lazy("Yesterday")),
            ("week", gettext_lazy("Last 7 days")),
            ("month", gettext_lazy("Last 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = span_of(self.value() or "", timezone.now())
        if span is None:
            return queryset
        return queryset.filter(**{f"{self.field}__gte": span[0], f"{self.field}__lt": span[1]})


def span_of(name: str, now: datetime) -> tuple[datetime, datetime] | None:
    """From when until when; days are UTC."""
    today, day = now.replace(hour=0, minute=0, second=0, microsecond=0), timedelta(days=1)
    spans = {
        "hour": (now - timedelta(hours=1), now + day),
        "today": (today, today + day),
        "yesterday": (today - day, today),
        "week": (today - 6 * day, today + day),
        "month": (today - 29 * day, today + day),
    }
    return spans.get(name)


def by_time(column: str) -> type[WhenFilter]:
    """The filter for a column of times."""
    return type("WhenFilter", (WhenFilter,), {"field": column})
