"""The table of an account's keys: searched, filtered, sorted and paged by the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import F, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.views.decorators.http import require_safe

from accounts import caps
from accounts.authority import Action
from accounts.models import ApiKey, KeyQuerySet
from console.frame import page, show
from console.keys.state import FILTERS, last_use, start_of, state_of
from console.seat import Seat

ON_A_PAGE = 25
LONGEST_SEARCH = 200

STATES = (
    ("", pgettext_lazy("keys", "All")),
    ("active", pgettext_lazy("keys", "Active")),
    ("expiring", pgettext_lazy("keys", "Expire soon")),
    ("unused", pgettext_lazy("keys", "Unused")),
    ("rotating", pgettext_lazy("keys", "Rotating")),
    ("paused", pgettext_lazy("keys", "Paused")),
    ("ended", pgettext_lazy("keys", "Ended")),
)
SORTS = {
    "name": F("name").asc(),
    "-name": F("name").desc(),
    "used": F("used_at").asc(nulls_first=True),
    "-used": F("used_at").desc(nulls_last=True),
    "expires": F("expires_at").asc(nulls_last=True),
    "-expires": F("expires_at").desc(nulls_first=True),
    "created": F("created_at").asc(),
    "-created": F("created_at").desc(),
}
NEWEST_FIRST = "-created"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the table, as far as it makes sense."""

    search: str
    state: str
    sort: str

    @classmethod
    def read(cls, request: HttpRequest) -> Wanted:
        state, sort = request.GET.get("state", ""), request.GET.get("sort", "")
        search = request.GET.get("q", "").strip()[:LONGEST_SEARCH]
        return cls(search, state if state in FILTERS else "", sort if sort in SORTS else NEWEST_FIRST)


@page(Action.READ_KEYS)
@require_safe
def keys(request: HttpRequest, seat: Seat) -> HttpResponse:
    """The whole page, or the table alone where htmx asks for it."""
    wanted = Wanted.read(request)
    rows = Paginator(_rows(seat, wanted), ON_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "seat": seat,
        "wanted": wanted,
        "rows": [_shown(key) for key in rows],
        "page": rows,
        "states": STATES,
        "columns": _columns(wanted),
        "may_issue": seat.may(Action.ISSUE_KEY) and not seat.account.closed_at,
    }
    if getattr(request, "htmx", False) and request.headers.get("HX-Target") == "table":
        return render(request, "console/keys/table.html", context)
    return show(request, seat, "keys/list", {**context, **_room(seat, rows)})


def _rows(seat: Seat, wanted: Wanted) -> KeyQuerySet:
    rows: KeyQuerySet = ApiKey.objects.filter(account=seat.account).prefetch_related("secrets")
    if wanted.state:
        rows = FILTERS[wanted.state](rows)
    if wanted.search:
        rows = rows.filter(Q(name__icontains=wanted.search) | Q(public_id=_id_in(wanted.search)))
    if wanted.sort.endswith("used"):
        rows = rows.annotate(used_at=Max("secrets__last_used_at"))
    return rows.order_by(SORTS[wanted.sort], "-id")


def _id_in(search: str) -> str:
    """The public id, where somebody pastes the start of a key or all of it; the secret part is not looked at."""
    return search.partition("_")[2].partition("_")[0][:16] if "_" in search else search


def _shown(key: ApiKey) -> dict[str, Any]:
    return {"key": key, "start": start_of(key), "used": last_use(key), "state": state_of(key, timezone.now())}


def _columns(wanted: Wanted) -> list[dict[str, str]]:
    """The headings one can sort by, each with the order that a click leads to."""
    columns = []
    for name, title in (
        ("name", gettext("Name")),
        ("", gettext("Models")),
        ("used", gettext("Last used")),
        ("expires", gettext("Expires")),
    ):
        order = {name: "ascending", f"-{name}": "descending"}.get(wanted.sort, "")
        falls_first = name == "used"
        first, second = (f"-{name}", name) if falls_first else (name, f"-{name}")
        columns.append({"title": title, "sort": name and (second if wanted.sort == first else first), "order": order})
    return columns


def _room(seat: Seat, rows: Page[ApiKey]) -> dict[str, Any]:
    """How many keys there are and may be."""
    most = caps.most_keys_of(seat.account)
    living = ApiKey.objects.living().filter(account=seat.account).count()
    return {"living": living, "most": most, "is_full": living >= most, "has_any": bool(living or rows.object_list)}
