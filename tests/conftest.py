"""Real Redis, a real database, and an account with a key to play with."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management.color import no_style
from django.db import connection, connections, transaction
from django.test import Client, TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as property_tests

from accounts.facts import publish
from accounts.facts.publish import models_base
from accounts.imports.reading import REFUSED, Line, import_lines, read_lines
from accounts.models import Account, ApiKey, User
from accounts.refused import Refused
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from accounts.services.keys import Issued, issue_key
from quotas.catalogue.applying import apply
from quotas.catalogue.file import read_catalogue_file
from quotas.models import Catalogue, Plan, ServedModel
from store import clients
from tests.deadlines import GENEROUS_SECONDS, deadlines
from tests.servers import ROOT, redis_server

ACTOR = Actor("tests")
LONGEST_TEST_SECONDS = 10

# How long an example takes says how busy the machine is.
property_tests.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
property_tests.load_profile("any machine")

CATALOGUE = """
    default_plan = "free"

    [models.sm]
    title = "small"

    [models.lg]
    cost = 5
    path = "/v1/large"

    [plans.free]
    models = ["sm"]
    limits = [
      { name = "minute", per = "key", amount = 60, window = "minute", burst = 10 },
      { name = "month", per = "account", amount = 1000, window = "month", unit = "units" },
    ]

    [plans.pro]
    models = ["*"]
    limits = [{ name = "second", per = "account", amount = 50, window = "second", burst = 100 }]
"""


ON_AN_ENGINE = ("compose", "swarm")  # only if `-m` names them: they build images and start dozens of containers


def pytest_collection_modifyitems(config, items):
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in ON_AN_ENGINE:
            item.add_marker(folder)
        is_wanted = folder not in ON_AN_ENGINE or folder in config.option.markexpr
        (kept if is_wanted else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    with redis_server(Path(os.environ["AUTHSVC_TEST_DIR"])) as path:
        yield path


@pytest.fixture
def redis_db(redis_socket):
    """The tests' own Redis, empty, in an hour that does not end during a test: usage is counted by the hour."""
    left = 3600 - time.time() % 3600
    if left < LONGEST_TEST_SECONDS:
        time.sleep(left)
    client = clients.sync_client()
    client.flushdb()
    yield client
    client.flushdb()


@pytest.fixture
def redis_away(settings):
    """Inside `with redis_away():` nothing listens where services and commands look for Redis."""

    @contextmanager
    def away():
        url, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
        clients.sync_client.cache_clear()
        try:
            yield
        finally:
            settings.REDIS_URL = url
            clients.sync_client.cache_clear()

    return away


@pytest.fixture(autouse=True)
def _nothing_cached():
    cache.clear()


@pytest.fixture
def _published(db, monkeypatch):
    """In a test that is rolled back, run commit hooks at once and skip publishing: no gate could see the rows.

    Mark a test `django_db(transaction=True)` if it asks the gate or looks into Redis.
    """
    if connection.in_atomic_block:
        monkeypatch.setattr(transaction, "on_commit", lambda function, *_, **__: function())
        monkeypatch.setattr(publish, "_publish_now", lambda publication: setattr(publication, "published", True))


@pytest.fixture
def catalogue(redis_db, db, _published, tmp_path):
    """Apply the text of a catalogue file. CATALOGUE is applied already."""

    def write(text: str = CATALOGUE) -> list[str]:
        path = tmp_path / "catalogue.toml"
        path.write_text(dedent(text))
        return change_catalogue(lambda: apply(read_catalogue_file(path)), actor=ACTOR)[0]

    # A server outlives a test's rows, and must never see the catalogue's version fall.
    Catalogue.objects.create(pk=1, version=time.time_ns() // 1_000_000)
    write()
    return write


def import_one(account: Account, text: str = "key-of-another-system", *, actor: Actor = ACTOR) -> Issued:
    """A key of another system, as a file of one line brings it. Raises Refused with the line's reason."""
    (line,) = read_lines(["account,name,key\n", f"{account.public_id},k,{text}\n"])
    assert isinstance(line, Line), line.why
    (outcome,), publication = import_lines([line], actor=actor)
    if outcome.word == REFUSED:
        raise Refused(outcome.why)
    return Issued(ApiKey.objects.get(public_id=outcome.key), text, publication)


@pytest.fixture
def account(catalogue) -> Account:
    return create_account("acme", Plan.objects.get(name="free"), external_id="acme", actor=ACTOR)[0]


@pytest.fixture
def operator(db) -> Client:
    """A browser in which olga, a superuser, is signed in."""
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(User.objects.create_superuser("olga"))
    return client


@pytest.fixture
def pro_account(catalogue) -> Account:
    return create_account("pro-acme", Plan.objects.get(name="pro"), actor=ACTOR)[0]


@pytest.fixture
def issued(account) -> Issued:
    return issue_key(account, name="first", actor=ACTOR)


@pytest.fixture
def pro_key(pro_account) -> Issued:
    return issue_key(pro_account, name="pro", actor=ACTOR)


@pytest.fixture
def dearer(catalogue):
    """Raise a model's cost, bypassing the rules that keep costs and limits consistent."""

    def dearer(slug: str, cost: int) -> None:
        models_base(ServedModel).filter(slug=slug).update(cost=cost)
        change_catalogue(lambda: [f"{slug} costs {cost}"], actor=ACTOR)

    return dearer


@pytest.fixture
def on_a_loop():
    """Run a coroutine on one event loop for the whole test, as a gate's process does."""
    with asyncio.Runner() as runner:
        yield runner.run
        runner.run(_leave())


@pytest.fixture
def real_deadlines():
    """Keep the product's deadlines, for a test in which one has to pass."""


@pytest.fixture(autouse=True)
def _generous_deadlines(request, monkeypatch):
    """A busy machine may need longer than the product allows. Only a `timed` test may depend on that."""
    if request.node.get_closest_marker("timed") or "real_deadlines" in request.fixturenames:
        return
    for module, name in deadlines():
        monkeypatch.setattr(module, name, GENEROUS_SECONDS)


async def _leave() -> None:
    from authsvc.gate.app import close_gate

    await close_gate()


KEPT = {"django_content_type", "auth_permission"}  # no test changes them, and they are slow to create


def _empty_the_tables(self: Any) -> None:
    """Django's `flush` creates all permissions again, which is a fifth of a test's cost."""
    for alias in self._databases_names(include_mirrors=False):
        ops = connections[alias].ops
        tables = set(connections[alias].introspection.django_table_names(only_existing=True, include_views=False))
        ops.execute_sql_flush(ops.sql_flush(no_style(), sorted(tables - KEPT), reset_sequences=False))


TransactionTestCase._fixture_teardown = _empty_the_tables  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def _nobody_else_in_the_database(django_db_setup, django_db_blocker):
    """Close connections that threads of tests have left open: PostgreSQL drops no database that is in use."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
