"""The compose stack on a real engine, once for all tests in this folder. `make stack` runs them."""

from __future__ import annotations

import os

import pytest

from tests.compose.engine import Stack, free_name, why_not
from tests.servers import free_port, wait_until


@pytest.fixture(scope="session")
def stack():
    if reason := why_not():
        pytest.skip(reason)
    if running := os.environ.get("AUTHSVC_TEST_STACK"):  # PROJECT:PORT of one that runs already, while writing tests
        project, _, port = running.partition(":")
        yield Stack(project, int(port))
        return
    stack = Stack(free_name("stack"), free_port())
    try:
        stack.start()
        stack.wait_until_ready()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def api(stack):
    with stack.client("api") as client:
        yield client


@pytest.fixture(scope="session")
def site(stack):
    with stack.client() as client:
        yield client


@pytest.fixture
def console(stack):
    """The console, once it answers: an earlier test may have replaced it, and Traefik ignores containers that are starting."""
    with stack.client("console") as client:
        wait_until(lambda: client.get("/login/").status_code == 200, "the console", 60)
        client.cookies.clear()
        yield client


@pytest.fixture(scope="session")
def _keys(stack):
    return [{"Authorization": f"Bearer {key}"} for key in stack.issue_keys(("pros", "pro"), ("frees", "free"))]


@pytest.fixture(scope="session")
def pro(_keys):
    """Headers with a key for every model."""
    return _keys[0]


@pytest.fixture(scope="session")
def free(_keys):
    """Headers with a key for the English model alone."""
    return _keys[1]
