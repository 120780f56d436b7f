"""People at the door, and what tests ask of them."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core import mail
from django.shortcuts import resolve_url
from django.test import Client

from accounts.models import AuditEvent, User

PASSWORD = "right horse battery"
HERE: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.7"}


def mia(**given: Any) -> User:
    return User.objects.create_user("mia", email="mia@example.org", password=PASSWORD, **given)


def sign_in(client: Client, name: str = "mia", password: str = PASSWORD, **extra: Any) -> Any:
    return client.post("/login/", {"username": name, "password": password}, **extra)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def acts(act: str = "") -> list[AuditEvent]:
    rows = AuditEvent.objects.filter(act=act) if act else AuditEvent.objects.all()
    return list(rows.order_by("pk"))


def link_in_the_last_mail() -> str:
    """The path of its one link to a page, without the console's address at its end."""
    (path,) = re.findall(r"http://127\.0\.0\.1:8081(/\S+)", str(mail.outbox[-1].body))
    return str(path)


def home() -> str:
    """Where signing in leads to."""
    return resolve_url(settings.LOGIN_REDIRECT_URL)
