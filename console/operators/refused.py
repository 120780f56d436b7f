"""Who was refused most, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from accounts.models import ApiKey
from console.charts import floor
from console.operators.figures import keys_by_id, names_of_accounts
from console.operators.places import Words, may
from console.usage.refusals import NO_MODEL
from quotas.models import UsageDay

MOST = 100
DAY = timedelta(days=1)
PERIODS = {
    "yesterday": (gettext_lazy("Yesterday"), 1, 0),  # its words, and the days ago where it begins and where it ends
    "today": (gettext_lazy("Today"), 0, -1),
    "week": (gettext_lazy("Last 7 days"), 6, -1),
}


class RefusedByKey(NamedTuple):
    """A key's refused calls to a model. `account_pk` and `key` are None for what is not in the database."""

    account_id: str
    account_name: str
    account_pk: int | None
    key_id: str
    key: ApiKey | None
    model: str
    calls: int
    why: str


def refused_between(start: datetime, end: datetime, most: int) -> list[RefusedByKey]:
    """The most frequently refused first; both are midnights."""
    days = UsageDay.objects.filter(day__gte=start, day__lt=end, refused__gt=0).order_by()
    sums = days.values_list("account", "key", "model").annotate(calls=Sum("refused"))
    found = list(sums.order_by("-calls", "key", "model")[:most])
    accounts, keys = names_of_accounts(row[0] for row in found), keys_by_id(row[1] for row in found)
    rows = []
    for account_id, key_id, model, calls in found:
        name, pk = accounts.get(account_id, (account_id, None))
        key = keys.get(key_id)
        no_model = model == NO_MODEL
        rows.append(RefusedByKey(account_id, name, pk, key_id, key, "" if no_model else model, calls, _why(key, model)))
    return rows


def _why(key: ApiKey | None, model: str) -> str:
    """What can be told from what is known now: the ledger counts refusals without their reasons."""
    if key is not None and key.state == "revoked":
        return _("The key is revoked.")
    if key is not None and key.state == "expired":
        return _("The key has expired.")
    if model == NO_MODEL:
        return _("No model has the path that was called.")
    return _("Over a limit, or not allowed for the key.")


def period_of(name: str, now: datetime) -> tuple[datetime, datetime]:
    _words, first, last = PERIODS[name]
    today = floor(now, "day")
    return today - first * DAY, today - last * DAY


@require_safe
def refused(request: HttpRequest) -> HttpResponse:
    if not may(request, "quotas.view_usagehour"):
        raise PermissionDenied
    asked = request.GET.get("period", "yesterday")
    name = asked if asked in PERIODS else "yesterday"
    rows = refused_between(*period_of(name, timezone.now()), MOST)
    periods: list[tuple[str, Words]] = [(key, words) for key, (words, _first, _last) in PERIODS.items()]
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Refused calls"),
        "rows": rows,
        "period": name,
        "periods": periods,
        "most": MOST,
    }
    return TemplateResponse(request, "admin/operators/refused.html", context)
