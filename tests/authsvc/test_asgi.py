"""The application as an ASGI server calls it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from accounts.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def application():
    from authsvc import asgi

    yield asgi.application
    request_finished.disconnect(asgi._close_connections)  # other tests keep theirs


@pytest.fixture
def opened(monkeypatch) -> list[BaseDatabaseWrapper]:
    """Every database connection opened from now on, in any thread."""
    found: list[BaseDatabaseWrapper] = []
    connect = BaseDatabaseWrapper.connect

    def noting(self: BaseDatabaseWrapper) -> None:
        found.append(self)
        connect(self)

    monkeypatch.setattr(BaseDatabaseWrapper, "connect", noting)
    return found


def ask(application: Any, path: str, headers: dict[str, str]) -> int:
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    is_read = False

    async def receive() -> dict[str, Any]:
        nonlocal is_read
        if is_read:
            await asyncio.Event().wait()
        is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(application(scope, receive, send), 60))
    return int(sent[0]["status"])


def test_no_connection_of_the_console_is_open_after_its_request(application, opened, monkeypatch):
    """Each request has its own thread, so whatever CONN_MAX_AGE says, nothing would reuse its connection."""
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 60)
    opened.clear()
    cookie = {"cookie": f"sessionid={browser.cookies['sessionid'].value}"}
    assert ask(application, "/admin/accounts/user/", cookie) == 200
    assert opened and [one for one in opened if one.connection is not None] == []
