"""What the buttons on a key's page do. Each takes a POST and leads back to the page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_POST

from accounts.authority import Action
from accounts.models import ApiKey
from accounts.refused import Refused
from accounts.services.keys import change_key, end_rotation, pause_key, resume_key, revoke_key, rotate_key
from console.frame import count_new_secret, count_write, forbidden, page
from console.keys.finding import find_key
from console.keys.issuing import show_secret, tell
from console.seat import Seat

GRACES = {
    "0": gettext_lazy("Not at all: end it now"),
    "3600": gettext_lazy("1 hour"),
    "86400": gettext_lazy("1 day"),
    "259200": gettext_lazy("3 days"),
    "604800": gettext_lazy("7 days"),
}
USUAL_GRACE = "86400"

Act = Callable[[HttpRequest, Seat, ApiKey], HttpResponse | None]


def _act(act: Act) -> Callable[..., HttpResponseBase]:
    """An act on a key, for people who may change it; what the service refuses becomes a notice."""

    @page(Action.READ_KEYS)
    @require_POST
    @wraps(act)
    def answer(request: HttpRequest, seat: Seat, key_id: str) -> HttpResponse:
        key = find_key(seat, key_id)
        if not seat.may_change(key):
            return forbidden(request, seat)
        try:
            response = act(request, seat, key)
        except Refused as error:
            messages.error(request, str(error))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            if response is not None:
                return response
        return redirect("console_key", seat.account.public_id, key.public_id)

    return answer


@_act
def rename(request: HttpRequest, seat: Seat, key: ApiKey) -> None:
    count_write(seat.account)
    publication = change_key(key, name=request.POST.get("name", ""), actor=seat.actor)
    words = gettext("The key is now called “%(name)s”.") % {"name": key.name}
    tell(request, words, is_pending=publication.is_pending)


@_act
def rotate(request: HttpRequest, seat: Seat, key: ApiKey) -> HttpResponse:
    """A new secret, shown once; the old one works until its grace is over."""
    grace, version = request.POST.get("grace", ""), request.POST.get("version", "")
    if grace not in GRACES or not (version.isascii() and version.isdigit() and len(version) < 19):
        raise Refused(gettext("This form is incomplete. Reload the page and try again."))
    count_new_secret(seat.account)
    issued = rotate_key(key, grace=timedelta(seconds=int(grace)), actor=seat.actor, version=int(version))
    return show_secret(request, seat, issued, is_new=False)


@_act
def end(request: HttpRequest, seat: Seat, key: ApiKey) -> None:
    count_write(seat.account)
    publication = end_rotation(key, actor=seat.actor)
    tell(request, gettext("The old secret has ended: its next request is refused."), is_pending=publication.is_pending)


@_act
def pause(request: HttpRequest, seat: Seat, key: ApiKey) -> None:
    count_write(seat.account)
    publication = pause_key(key, actor=seat.actor)
    words = gettext("“%(key)s” is paused: its requests are refused until you resume it.") % {"key": key.name}
    tell(request, words, is_pending=publication.is_pending)


@_act
def resume(request: HttpRequest, seat: Seat, key: ApiKey) -> None:
    count_write(seat.account)
    publication = resume_key(key, actor=seat.actor)
    words = gettext("“%(key)s” is resumed: it works from its next request on.") % {"key": key.name}
    tell(request, words, is_pending=publication.is_pending)


@_act
def revoke(request: HttpRequest, seat: Seat, key: ApiKey) -> None:
    """Only after the key's name has been typed."""
    if request.POST.get("name", "").strip() != key.name:
        words = gettext("Nothing was revoked: type the name of the key, “%(name)s”, to revoke it.")
        raise Refused(words % {"name": key.name})
    count_write(seat.account)
    publication = revoke_key(key, actor=seat.actor)
    words = gettext("“%(name)s” is revoked: its next request is refused.") % {"name": key.name}
    tell(request, words, is_pending=publication.is_pending)


def grace_choices() -> list[dict[str, Any]]:
    return [{"value": value, "title": title, "is_usual": value == USUAL_GRACE} for value, title in GRACES.items()]
