"""The application as an ASGI server calls it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from accounts.models import User
from quotas import deployment
from runtime.protocol import OFFER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def application():
    from authsvc import asgi

    request_finished.connect(asgi._close_connections)  # as importing it did the first time
    yield asgi.application
    request_finished.disconnect(asgi._close_connections)  # other tests keep theirs


@pytest.fixture
def gc_as_it_was() -> Iterator[None]:
    """A gate changes it for its whole process."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


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


def live(application: Any) -> dict[str, Any]:
    """The lifespan's state after the application has started; then it ends."""
    state: dict[str, Any] = {}
    steps = iter(["startup", "shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": f"lifespan.{next(steps)}"}

    async def send(message: dict[str, Any]) -> None:
        assert message["type"].endswith(".complete")

    asyncio.run(asyncio.wait_for(application({"type": "lifespan", "state": state}, receive, send), 60))
    return state


def test_a_gate_offers_to_answer_traefik_directly(application, gc_as_it_was):
    assert live(application)[OFFER].path == b"/auth/"


def test_a_console_offers_nothing(application, monkeypatch):
    from authsvc import asgi

    monkeypatch.setattr(asgi, "_IS_GATE", False)
    assert live(application) == {}


def test_asking_whose_redis_it_is_keeps_no_connection_to_the_database(application):
    from authsvc import asgi

    deployment.own()

    async def kept() -> tuple[str | None, object]:
        whose = await asgi._whose()
        return whose, await asyncio.to_thread(lambda: connection.connection)  # the same thread, idle again

    assert asyncio.run(kept()) == (deployment.own(), None)
