"""Where mail goes: EMAIL_URL as Django's settings, and what stands there while nobody has set it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage

from authsvc.env import BadSetting

SECONDS = 10
_BACKENDS = "django.core.mail.backends"
_PORTS = {"smtp": 587, "smtps": 465}
_EXPECTED = "write smtp://USER:PASSWORD@HOST:587 (STARTTLS), smtps://…:465, smtp+plain://HOST:25 or console://"


class MailIsOff(OSError):
    """No mail can be sent, because EMAIL_URL is not set."""


class NoMail(BaseEmailBackend):
    """Says that it cannot send, where swallowing the mail would look like success."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        raise MailIsOff("EMAIL_URL is not set")


def settings_of(url: str) -> dict[str, Any]:
    """Django's EMAIL_* settings for this address. Raises BadSetting."""
    if not url:
        return {"EMAIL_BACKEND": "authsvc.mail.NoMail"}
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadSetting(f"EMAIL_URL cannot be read: {_EXPECTED}.") from error
    if parts.scheme == "console":
        return {"EMAIL_BACKEND": f"{_BACKENDS}.console.EmailBackend"}
    if parts.scheme not in ("smtp", "smtps", "smtp+plain") or not host:
        raise BadSetting(f"EMAIL_URL is no address of a mail server: {_EXPECTED}.")
    return {
        "EMAIL_BACKEND": f"{_BACKENDS}.smtp.EmailBackend",
        "EMAIL_HOST": host,
        "EMAIL_PORT": port or _PORTS.get(parts.scheme, 25),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": SECONDS,
    }
