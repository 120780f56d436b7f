"""Closing an account: its owners do it themselves, by typing its name."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from accounts.authority import Action
from accounts.services.closing import close_and_erase
from console.frame import count_write, forbidden, page
from console.seat import LAST_ACCOUNT, Seat, memberships_of


@page(Action.READ_ACCOUNT)
@require_POST
def close(request: HttpRequest, seat: Seat) -> HttpResponse:
    """Nobody is a member afterwards, so the answer itself says what happened."""
    if not seat.may(Action.CLOSE_ACCOUNT):
        return forbidden(request, seat)
    name = seat.account.name
    if request.POST.get("name", "").strip() != name:
        said = gettext("Nothing was closed: type the name of the account, “%(name)s”, to close it.")
        messages.error(request, said % {"name": name})
        return redirect("console_account", seat.account.public_id)
    count_write(seat.account)
    publication = close_and_erase(seat.account, actor=seat.actor)
    request.session.pop(LAST_ACCOUNT, None)
    context = {
        "name": name,
        "public_id": seat.account.public_id,
        "is_pending": publication.is_pending,
        "has_others": bool(memberships_of(seat.user)),
    }
    return render(request, "console/door/closed.html", context)
