"""The account itself: its name and plan, what other plans would give, and all of its data as a file."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext, pgettext_lazy
from django.views.decorators.http import require_POST, require_safe

from accounts import caps
from accounts.authority import Action
from accounts.refused import Refused
from accounts.services.accounts import rename_account
from console.account.plans import compared
from console.catalogue import limits_of
from console.frame import count_write, forbidden, page, show
from console.limits import sentence
from console.seat import Seat

STATES = {
    "active": pgettext_lazy("of an account", "Active"),
    "suspended": pgettext_lazy("of an account", "Suspended"),
    "closed": pgettext_lazy("of an account", "Closed"),
}


@page(Action.READ_ACCOUNT)
@require_safe
def account(request: HttpRequest, seat: Seat) -> HttpResponse:
    plan = seat.account.plan
    context = {
        "state": STATES[seat.account.state],
        "models": plan.included().filter(enabled=True).count(),
        "most_keys": caps.most_keys_of(seat.account),
        "limits": [sentence(limit) for limit in limits_of(seat.account)],
        "may_rename": seat.may(Action.RENAME_ACCOUNT) and not seat.account.closed_at,
        "may_export": seat.may(Action.EXPORT_ACCOUNT),
        "may_close": seat.may(Action.CLOSE_ACCOUNT),
        "offers": compared(seat.account),
    }
    return show(request, seat, "account/account", context)


@page(Action.READ_ACCOUNT)
@require_POST
def rename(request: HttpRequest, seat: Seat) -> HttpResponse:
    if not seat.may(Action.RENAME_ACCOUNT):
        return forbidden(request, seat)
    count_write(seat.account)
    try:
        rename_account(seat.account, request.POST.get("name", ""), actor=seat.actor)
    except Refused as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, gettext("The account is now called “%(name)s”.") % {"name": seat.account.name})
    return redirect("console_account", seat.account.public_id)
