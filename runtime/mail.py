"""The mail server in EMAIL_URL, and what replaces it while that is not set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage

from runtime.env import BadSetting
from runtime.hosts import normal_host

SECONDS = 10
_BACKENDS = "django.core.mail.backends"
_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
_EXPECTED = "write smtp://USER:PASSWORD@HOST:587 (STARTTLS), smtps://…:465, smtp+plain://HOST:25 or console://"


@dataclass(frozen=True, slots=True)
class MailServer:
    """The values of Django's EMAIL_* settings."""

    backend: str
    host: str = "localhost"
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    starts_tls: bool = False
    is_tls: bool = False


class MailIsOff(OSError):
    """No mail can be sent because EMAIL_URL is not set."""


class NoMail(BaseEmailBackend):
    """Raises an error; silently dropping the mail would look like success."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        raise MailIsOff("EMAIL_URL is not set")


def server_at(url: str) -> MailServer:
    """The mail server at this URL. Raises BadSetting."""
    if not url:
        return MailServer("runtime.mail.NoMail")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadSetting(f"EMAIL_URL cannot be read: {_EXPECTED}.") from error
    if parts.scheme == "console":
        return MailServer(f"{_BACKENDS}.console.EmailBackend")
    if parts.scheme not in _PORTS or not host or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise BadSetting(f"EMAIL_URL is not the address of a mail server: {_EXPECTED}.")
    try:
        host = normal_host(host).strip("[]")
    except ValueError as error:
        raise BadSetting(f"EMAIL_URL does not name a host: {_EXPECTED}.") from error
    return MailServer(
        f"{_BACKENDS}.smtp.EmailBackend",
        host,
        port or _PORTS[parts.scheme],
        _credential("user", parts.username),
        _credential("password", parts.password),
        starts_tls=parts.scheme == "smtp",
        is_tls=parts.scheme == "smtps",
    )


def _credential(what: str, quoted: str | None) -> str:
    """smtplib signs in with ASCII only, and would fail only when the first mail is sent."""
    text = unquote(quoted or "")
    if not text.isascii() or not text.isprintable():
        raise BadSetting(f"EMAIL_URL has a {what} with non-ASCII characters, which SMTP cannot sign in with.")
    return text


def sender(text: str) -> str:
    """EMAIL_FROM: an address, or a name followed by one in angle brackets. Raises BadSetting."""
    address = parseaddr(text)[1]
    local, _, domain = address.rpartition("@")
    try:
        normal_host(domain)
    except ValueError:
        local = ""
    if not re.fullmatch(r"[!#-'*+/-9=?A-Z^-~-]+(\.[!#-'*+/-9=?A-Z^-~-]+)*", local) or not (
        text == address or text.endswith(f"<{address}>")
    ):
        raise BadSetting(
            "EMAIL_FROM is not an address to send from: write authsvc@example.org or Models <authsvc@example.org>."
        )
    return text
