"""docs/billing.md, run as it stands against the running service."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account
from accounts.services.closing import close_and_erase
from accounts.services.credentials import OPERATOR_SCOPES, make_operator_token
from tests.conftest import ACTOR
from tests.gate.conftest import question
from tests.gate.test_fronts import environment
from tests.servers import ROOT, gunicorn

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = ROOT / "docs" / "billing.md"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def service(catalogue, monkeypatch, tmp_path) -> Iterator[int]:
    catalogue((ROOT / "deploy" / "catalogue.toml").read_text())
    with gunicorn("authsvc.asgi:application", tmp_path, "-c", "deploy/gunicorn.conf.py", env=environment()) as (
        port,
        _,
    ):
        monkeypatch.setenv("CONSOLE_URL", f"http://127.0.0.1:{port}")
        token = make_operator_token(name="billing", scopes=OPERATOR_SCOPES, actor=ACTOR)[1]
        monkeypatch.setenv("OPERATOR_TOKEN", token)
        yield port


def blocks() -> list[tuple[str, str, str]]:
    """Heading, language and code of each block, in the order of the page."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        found += [(heading, language, code) for language, code in BLOCK.findall(section)]
    return found


def call(port: int, key: str) -> int:
    """A call to the model, as Traefik asks about it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(50):
        headers = dict(question(key, x_forwarded_uri="/en_core_web_sm/ner"))
        connection.request("GET", "/auth/?model=en_core_web_sm", headers=headers)
        response = connection.getresponse()
        response.read()
        if response.status != 503:  # a machine that is too busy has not judged
            break
    connection.close()
    return response.status


@pytest.mark.slow
def test_the_page_runs_as_it_stands(service, tmp_path):
    names: dict[str, Any] = {}

    def calls(number: int, status: int = 200) -> None:
        assert [call(service, names["key"]) for _ in range(number)] == [status] * number

    def copy_usage() -> None:
        call_command("keep_ledger", once=True, stdout=StringIO())

    # What the page says has happened, by the block that it happens before.
    meanwhile: dict[str, Callable[[], None]] = {
        "def left(": lambda: calls(3),
        '["plan"] = "free"': lambda: calls(2),
        '"/explain/"': lambda: calls(1, 403),
        "PRICE": copy_usage,
        '"pro", "status": "active"}': lambda: calls(1, 403),
        "/close/": lambda: calls(1),
    }
    happened = set()
    for heading, language, code in blocks():
        for words, act in meanwhile.items():
            if words in code:
                act()
                happened.add(words)
        if heading == "What you need":
            continue  # its two variables are set already
        if language == "python":
            exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
        else:
            _run(code, tmp_path)
    names["api"].close()
    assert happened == set(meanwhile)
    assert "cus_42" in (tmp_path / "invoices.csv").read_text()
    calls(1, 403)  # of the account that was erased


def _run(code: str, directory: Path) -> None:
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        command, cwd=directory, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# Its webhook, whatever the provider does.

PLANS, NAMES = ("free", "pro"), ("Acme", "Beta", "cus_0")
CUSTOMERS = range(3)


@pytest.fixture
def webhook(catalogue, monkeypatch):
    """What the page defines, asking the API inside of this process."""
    monkeypatch.setenv("CONSOLE_URL", "http://127.0.0.1:8081")
    monkeypatch.setenv("OPERATOR_TOKEN", make_operator_token(name="billing", scopes=OPERATOR_SCOPES, actor=ACTOR)[1])
    page: dict[str, Any] = {}
    for heading, _, code in blocks():
        if heading == "The webhook":
            exec(compile(code, f"{PAGE.name}: {heading}", "exec"), page)
    with (
        page["api"] as outside,
        httpx.Client(
            transport=httpx.WSGITransport(get_wsgi_application()), base_url=outside.base_url, headers=outside.headers
        ) as inside,
    ):
        page["api"] = inside
        yield page


@dataclass
class Provider:
    """A payment provider with a few customers, of whom some share a name; and what it still has to deliver."""

    subscriptions: dict[str, dict[str, str]]
    to_deliver: list[dict[str, str]] = field(default_factory=list)

    def happens(self, customer: str, what: str, value: str) -> None:
        now = self.subscriptions.get(customer)
        if now is None or what == "subscription.created":
            now = self.subscriptions[customer] = {"name": value, "plan": "free", "status": "active"}
        elif what == "subscription.renamed":
            now["name"] = value
        elif what == "subscription.updated":
            now["plan"] = value if value in PLANS else "pro"
        else:
            now["status"] = {"payment.failed": "past_due", "payment.succeeded": "active"}.get(what, "canceled")
        self.to_deliver.append({"type": what, "customer": customer})


EVENTS = (
    "subscription.created",
    "subscription.renamed",
    "subscription.updated",
    "payment.failed",
    "payment.succeeded",
    "subscription.deleted",
)
HAPPENS = st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from((*EVENTS, "erased")), st.sampled_from(NAMES + PLANS))
_examples = count()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(HAPPENS, min_size=1, max_size=12), data=st.data())
def test_late_twice_and_in_any_order_every_account_ends_as_the_provider_has_it(webhook, story, data):
    example = next(_examples)
    provider = Provider(webhook["provider"])
    provider.subscriptions.clear()
    for number, what, value in story:
        customer = f"cus_{example}_{number}"
        if what == "erased":
            for account in Account.objects.filter(external_id=customer):
                close_and_erase(account, actor=ACTOR)
                provider.to_deliver.append({"type": "subscription.updated", "customer": customer})
        else:
            provider.happens(customer, what, value)
        for event in data.draw(st.lists(st.sampled_from(provider.to_deliver or [{}]), max_size=2)):
            if event and event["customer"] in provider.subscriptions:
                webhook["on_event"](event)  # perhaps early, perhaps a second time: it is delivered at the end again
    for event in data.draw(st.permutations(provider.to_deliver)):
        if event["customer"] in provider.subscriptions:
            webhook["on_event"](event)
    for customer, now in provider.subscriptions.items():
        found = Account.objects.filter(external_id=customer).first()
        if now["status"] == "canceled":
            assert found is None or found.state == "closed"
            continue
        assert found is not None
        state = "active" if now["status"] == "active" else "suspended"
        assert (found.name, found.plan.name, found.state) == (now["name"], now["plan"], state)


def test_one_name_and_a_customer_who_comes_back_are_no_errors(webhook):
    provider = Provider(webhook["provider"])
    for customer in ("cus_a", "cus_b"):
        provider.happens(customer, "subscription.created", "Acme")
    for event in (*provider.to_deliver, *provider.to_deliver):
        webhook["on_event"](event)
    provider.happens("cus_a", "subscription.deleted", "")
    webhook["on_event"](provider.to_deliver[-1])
    provider.happens("cus_a", "subscription.created", "Acme")
    webhook["on_event"](provider.to_deliver[-1])
    assert set(Account.objects.values_list("external_id", "name", "closed_at")) == {
        ("cus_a", "Acme", None),
        ("cus_b", "Acme", None),
    }
