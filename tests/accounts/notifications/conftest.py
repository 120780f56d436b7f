"""An account with somebody to tell, a mail server, and rounds of the postman."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress

from accounts.models import Account, User
from accounts.notifications.postman import Postman
from accounts.services.roles import set_role
from runtime.mail import server_at
from tests.conftest import ACTOR
from tests.servers import mail_server_for_many


def somebody(name: str, account: Account | None = None, role: str = "owner", *, confirmed: bool = True) -> User:
    user = User.objects.create_user(name, f"{name}@example.org")
    EmailAddress.objects.create(user=user, email=user.email, verified=confirmed, primary=True)
    if account is not None:
        set_role(account, user, role, actor=ACTOR)
    return user


@pytest.fixture
def ada(account) -> User:
    return somebody("ada", account)


@pytest.fixture
def postman() -> Postman:
    return Postman()


@pytest.fixture
def mails(settings) -> Iterator[list[list[str]]]:
    """The lines of each mail that a real mail server was sent."""
    with mail_server_for_many() as (port, mails):
        server = server_at(f"smtp+plain://127.0.0.1:{port}")
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = server.backend, server.host, server.port
        yield mails


def subjects(mails: list[list[str]]) -> list[str]:
    return [line.removeprefix("Subject: ") for mail in mails for line in mail if line.startswith("Subject: ")]
