"""The models that the account's plan has: what they cost, which limits hold, and how to call them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from accounts.authority import Action
from accounts.models import Account
from console.frame import page, show
from console.keys.calls import ready_calls
from console.limits import sentence
from console.seat import Seat
from quotas.limits import EVERY_MODEL, SECOND, WINDOWS, Limit
from quotas.terms import limits_in_force


@page(Action.READ_CATALOGUE)
@require_safe
def models(request: HttpRequest, seat: Seat) -> HttpResponse:
    """Every model that can be called today, and the ready call for the one that was chosen."""
    rows = list(seat.account.plan.included().filter(enabled=True))
    chosen = next((row for row in rows if row.slug == request.GET.get("model")), rows[0] if rows else None)
    limits = limits_of(seat.account)
    context: dict[str, Any] = {
        "gateway": settings.GATEWAY_URL,
        "models": [{"row": row, "limits": _own(limits, row.slug)} for row in rows],
        "limits": [sentence(limit) for limit in limits if limit.model == EVERY_MODEL],
        "chosen": chosen,
        "calls": ready_calls(chosen) if chosen else [],
        "example": chosen.as_example if chosen else None,
    }
    return show(request, seat, "models/models", context)


def limits_of(account: Account) -> list[Limit]:
    """The plan's limits with the account's overrides; none that only counts."""
    plan = [row.value() for row in account.plan.limits.select_related("model")]
    overrides = {row.limit_name: row for row in account.overrides.all()}
    since = int(account.plan_since.timestamp() * SECOND)
    limits = [limit for limit in limits_in_force(plan, overrides, since, ()) if not limit.shadow]
    return sorted(limits, key=lambda limit: (WINDOWS.index(limit.window), limit.name))


def _own(limits: list[Limit], slug: str) -> list[str]:
    return [sentence(limit) for limit in limits if limit.model == slug]
