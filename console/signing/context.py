"""What every template knows about signing in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def signing(request: HttpRequest) -> dict[str, Any]:
    return {
        "sign_up_is_open": settings.SIGN_UP == "open",
        "has_mailbox": settings.MAILBOX,
        "identity_provider": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
    }
