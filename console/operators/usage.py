"""What all accounts used: as charts, and added up by account, key or model."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from console.charts import chart_of, floor, steps
from console.operators.figures import days_of, sums_of, top_accounts, top_models
from console.operators.places import may

DAYS = {"7": 7, "30": 30, "90": 90}
MOST = 50


@require_safe
def usage(request: HttpRequest) -> HttpResponse:
    if not may(request, "quotas.view_usagehour"):
        raise PermissionDenied
    now, days = timezone.now(), DAYS.get(request.GET.get("days", ""), 30)
    since = floor(now, "day") - timedelta(days=days - 1)
    rows = days_of(now, days)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Usage"),
        "days": days,
        "ranges": DAYS.values(),
        "sums": sums_of(rows),
        "chart": chart_of(
            rows,
            steps(since, now, "day"),
            "day",
            series_of=lambda row: row.model or "",
            words=_("Calls a day by model"),
        ),
        "accounts": top_accounts(since, now, MOST),
        "models": top_models(since, now, MOST),
        "most": MOST,
    }
    return TemplateResponse(request, "admin/operators/usage.html", context)
