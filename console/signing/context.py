"""What every template knows about signing in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from console.frame import framed
from console.seat import seat_of_last_account

_OWN_PAGES = ("/accounts/", "/logout/")


def signing(request: HttpRequest) -> dict[str, Any]:
    return {
        "sign_up_is_open": settings.SIGN_UP == "open",
        "has_mailbox": settings.MAILBOX,
        "identity_provider": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
        **_layout(request),
    }


def _layout(request: HttpRequest) -> dict[str, Any]:
    """Pages of one's own sign-in stand in the console's frame where somebody has an account, else alone."""
    if not request.path_info.startswith(_OWN_PAGES):
        return {}
    seat = seat_of_last_account(request)
    if seat is None:
        return {"layout_of_own_pages": "console/signing/alone.html"}
    return {"layout_of_own_pages": "console/signing/in_frame.html", **framed(seat, "security")}
