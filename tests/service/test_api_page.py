"""Runs docs/api.md: every sample of curl and httpx against the running service, compared with the answer on the page.

With AUTHSVC_TEST_RENEW=1 the answers are written into the page instead.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from accounts.models import User
from accounts.services.accounts import create_account
from accounts.services.catalogue import change_catalogue
from accounts.services.credentials import MANAGEMENT_SCOPES, OPERATOR_SCOPES, make_management_key, make_operator_token
from accounts.services.keys import issue_key
from api.base.problems import WORDS
from api.urls import OPERATIONS
from quotas.catalogue.applying import apply
from quotas.catalogue.file import read_catalogue_file
from quotas.models import Catalogue, Plan
from tests.conftest import ACTOR
from tests.gate.conftest import question

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
RENEWS = os.environ.get("AUTHSVC_TEST_RENEW") == "1"
PARTS = re.compile(
    r"### (?P<title>[^\n]*)\n\n(?P<words>`[A-Z]+ /api/v1/[^\n]*` \(`(?P<operation>\w+)`\)\n(?:(?!```)[^\0])*?)"
    r"```sh\n(?P<curl>.*?)```\n\n```python\n(?P<python>.*?)```\n\n(?:<!-- (?P<saves>[^\n]*) -->\n\n)?"
    r"```http\n(?P<answer>.*?)```",
    re.S,
)
Variables = dict[str, str]
Answer = tuple[int, str]


@dataclass(frozen=True)
class Call:
    title: str
    operation: str
    curl: str
    python: str
    saves: str
    answer: str


def calls() -> list[Call]:
    return [
        Call(*(found[name] or "" for name in ("title", "operation", "curl", "python", "saves", "answer")))
        for found in PARTS.finditer(PAGE.read_text())
    ]


def test_every_sample_on_the_page_is_run_and_belongs_to_an_operation():
    """Every operation is in the generated reference: tests/api/test_schema.py."""
    assert {call.operation for call in calls()} <= {one.id for one in OPERATIONS.values()}
    assert len(calls()) == PAGE.read_text().count("```http") > 10


def test_the_page_lists_every_kind_of_problem():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.M)
    assert {word: (int(status), advice) for status, word, advice in rows} == {
        word: (status.value, advice) for word, (status, advice) in WORDS.items()
    }


@pytest.fixture
def variables(service, redis_db, transactional_db) -> Variables:
    """The catalogue of the stacks, an account with some usage, and the variables that the page starts from."""
    Catalogue.objects.create(pk=1, version=time.time_ns() // 1_000_000)
    catalogue = read_catalogue_file(ROOT / "deploy" / "catalogue.toml")
    change_catalogue(lambda: apply(catalogue), actor=ACTOR)
    account, _ = create_account("Acme", Plan.objects.get(name="free"), actor=ACTOR)
    User.objects.create_user("grace", email="grace@example.org")
    used = issue_key(account, name="in use", actor=ACTOR)
    headers = dict(question(used.text, x_forwarded_uri="/en_core_web_sm/ner"))
    assert httpx.get(f"{service}/auth/", headers=headers, timeout=30).status_code == 200
    call_command("keep_ledger", "--once")
    return {
        "API": f"{service}/api/v1",
        "TOKEN": make_management_key(account, name="page", scopes=MANAGEMENT_SCOPES, actor=ACTOR)[1],
        "OPERATOR": make_operator_token(name="page", scopes=OPERATOR_SCOPES, actor=ACTOR)[1],
        "USED_KEY": used.key.public_id,
    }


def by_curl(call: Call, variables: Variables, tmp_path: Path) -> Answer:
    body = tmp_path / "body"
    body.unlink(missing_ok=True)
    really = f"curl() {{ command curl -sS --max-time 60 -o {body} -w '%{{http_code}}' \"$@\"; }}\nset -eu\n"
    done = subprocess.run(
        ["bash", "-c", really + call.curl],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{call.title}: {done.stderr}"
    return int(done.stdout), body.read_text() if body.exists() else ""


def by_httpx(call: Call, variables: Variables, tmp_path: Path) -> Answer:
    (opening,) = re.findall(r"```python\n(import httpx\n.*?)```", PAGE.read_text(), re.S)
    names: dict[str, Any] = dict(variables)
    exec(opening, names)
    with names["api"], names["operator"]:
        exec(call.python, names)
    return names["answer"].status_code, names["answer"].text


@pytest.mark.parametrize("ask", [by_curl, by_httpx])
def test_every_sample_is_answered_as_the_page_shows(variables, tmp_path, ask: Callable[..., Answer]):
    shown = calls()
    for call in shown:
        status, body = ask(call, variables, tmp_path)
        if RENEWS and ask is by_curl:
            renew(call, in_words(status, body))
        else:
            assert is_the_same(call.answer, in_words(status, body)), f"{call.title}: {in_words(status, body)}"
        for name, path in re.findall(r"(\w+) = ([\w.\[\]]+)", call.saves):
            variables[name] = taken(json.loads(body), path)


def taken(value: Any, path: str) -> str:
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", path):
        value = value[name] if name else value[int(index)]
    return str(value)


# Answers, as the page shows them.

SECRET = re.compile(r"(ask_(?:mgmt_|oper_)?[0-9A-Za-z]{16}_)[0-9A-Za-z]{20,}")


def in_words(status: int, body: str) -> str:
    head = f"HTTP {status} {HTTPStatus(status).phrase}\n"
    if not body:
        return head
    try:
        body = laid_out(json.loads(body))
    except ValueError:
        body = body.replace("\r", "").strip()
    body = re.sub(r"http://127\.0\.0\.1:\d+/api", "https://console.example.com/api", SECRET.sub(r"\1…", body))
    body = body.replace("http://127.0.0.1:8081", "https://console.example.com")
    return f"{head}\n{body.replace('http://127.0.0.1:8080', 'https://models.example.com')}\n"


WIDTH = 110


def laid_out(value: Any, indent: str = "") -> str:
    """JSON with what fits on a line on one line, except the answer itself."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or (indent and len(indent + flat) <= WIDTH):
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(name)}: {laid_out(one, inner)}" for name, one in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + laid_out(one, inner) for one in value) + f"\n{indent}]"


# Values that differ in each run: ids, times, cursors, and what is left of a limit that refills.
CHANGING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"), "TIME"),
    (re.compile(r"(?<=cursor=)[\w-]+"), "CURSOR"),
    (re.compile(r"(?<=\"whole_in\": )\d+"), "0"),
    (re.compile(r"(?<=;t=)\d+"), "0"),
    (re.compile(r"(?<=\"left\": )(?:9|10)\b|(?<=;r=)(?:9|10)(?=;)"), "9"),  # of 10, of which one returns each second
    (re.compile(r"(?<=;w=)2\d{6}\b"), "2592000"),  # months differ in length
    (re.compile(r"\b(?=[0-9A-Za-z]*[0-9A-Z])[0-9A-Za-z]{16}(?=_|\b)"), "ID"),
    (re.compile(r"(?<=_)(?=[0-9A-Za-z]*[0-9A-Z])[0-9A-Za-z]{16}(?:_[0-9A-Za-z]*)?"), "ID"),
    (re.compile(r"(?<=[\" ])(?=[0-9A-Za-z]*[0-9A-Z])[0-9A-Za-z]{8}(?=[\" ])"), "ACCOUNT"),
    (re.compile(r"(?<=accounts/)[0-9A-Za-z]{8}(?=/)|(?<=account=)[0-9A-Za-z]{8}\b"), "ACCOUNT"),
]


def is_the_same(shown: str, real: str) -> bool:
    for pattern, word in CHANGING:
        shown, real = pattern.sub(word, shown), pattern.sub(word, real)
    return shown.split("\n", 1)[0].split()[1] == real.split("\n", 1)[0].split()[1] and (
        shown.partition("\n\n")[2] == real.partition("\n\n")[2]
    )


def renew(call: Call, answer: str) -> None:
    text = PAGE.read_text()
    found = next(one for one in PARTS.finditer(text) if one["title"] == call.title)
    PAGE.write_text(text[: found.start("answer")] + answer + text[found.end("answer") :])
