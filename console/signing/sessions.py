"""One's sessions: where one is signed in, and ending one of them or all others."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.services.acts import Actor
from console.signing.devices import device_of, place_of
from console.signing.record import write_down


def in_words(request: HttpRequest, rows: list[UserSession]) -> list[dict[str, Any]]:
    """The sessions for the page: this one first, then the others from the one that was started last."""
    here = Actor.address_of(request)
    rows = sorted(rows, key=lambda row: (not row.is_current(), -row.created_at.timestamp()))
    return [
        {
            "row": row,
            "device": device_of(row.user_agent),
            "place": place_of(str(row.ip), here),
            "is_current": row.is_current(),
        }
        for row in rows
    ]


@login_required
@never_cache
@require_POST
def end(request: HttpRequest, session: int) -> HttpResponse:
    """End one session of one's own. Somebody else's, or one that has ended meanwhile, is told apart by nobody."""
    user = request.user
    assert isinstance(user, User)
    row = UserSession.objects.filter(user=user, pk=session).first()
    if row is None:
        messages.info(request, gettext("That session has ended already."))
    elif row.is_current():
        messages.info(request, gettext("To end this session, sign out."))
    else:
        device = device_of(row.user_agent)
        row.end()
        write_down(request, user, "user.session_end", device=device, address=str(row.ip))
        messages.success(request, gettext("%(device)s is signed out.") % {"device": device})
    return redirect("usersessions_list")
