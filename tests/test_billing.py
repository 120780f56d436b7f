"""docs/billing.md, run as it stands against the running service."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from accounts.credentials import OPERATOR_SCOPES, make_operator_token
from tests.conftest import ACTOR
from tests.gate.conftest import question
from tests.gate.test_fronts import environment
from tests.servers import ROOT, gunicorn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

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


def test_the_page_runs_as_it_stands(service, tmp_path):
    names: dict[str, Any] = {}

    def calls(number: int, status: int = 200) -> None:
        assert [call(service, names["key"]) for _ in range(number)] == [status] * number

    def copy_usage() -> None:
        call_command("keep_ledger", once=True, stdout=StringIO())

    # What the page says has happened, by the block that it happens before.
    meanwhile: dict[str, Callable[[], None]] = {
        "def left(": lambda: calls(3),
        '"plan": "free"})\nassert left': lambda: calls(2),
        '"/explain/"': lambda: calls(1, 403),
        "PRICE": copy_usage,
    }
    happened = set()
    for heading, language, code in blocks():
        for words, act in meanwhile.items():
            if words in code:
                act()
                happened.add(words)
        if heading == "What it needs":
            continue  # its two variables are set already
        if language == "python":
            exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
        else:
            _run(code, tmp_path)
    names["api"].close()
    assert happened == set(meanwhile)
    assert "cus_42" in (tmp_path / "invoices.csv").read_text()
    calls(1, 403)


def _run(code: str, directory: Path) -> None:
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=directory, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
