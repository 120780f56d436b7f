"""The pages on models and checks, compared with the code."""

from __future__ import annotations

import re
import shlex
from io import StringIO

import pytest
from django.core.management import call_command

from authsvc.gate.forwarded import WANTED
from tests.test_docs import ROOT, code_in, rows_of, text_of
from traefik import headers
from traefik.findings import Mistake
from traefik.management.commands.model_labels import Command

PAGE = "docs/adding-a-model.md"


def test_the_table_of_findings_is_that_of_the_code():
    rows = rows_of(text_of("docs/check-stack.md"), "## What it finds")
    documented = [(code_in(code)[0], severity, meaning) for code, severity, meaning, *_ in rows]
    assert documented == [(mistake.code, mistake.severity, mistake.meaning) for mistake in Mistake]
    assert all(why and instead for *_, why, instead in rows)


def blocks():
    """The page's examples, each with the options in its first line."""
    return re.findall(r"^```yaml\n# (?:labels|file): ([^\n]*)\n(.*?)^```$", text_of(PAGE), re.M | re.S)


@pytest.mark.django_db
@pytest.mark.parametrize(("options", "shown"), blocks(), ids=lambda text: text.partition("\n")[0])
def test_an_example_is_what_model_labels_prints(options, shown):
    out = StringIO()
    call_command("model_labels", *shlex.split(options), stdout=out)
    assert out.getvalue() == shown


def test_the_page_has_its_examples():
    assert len(blocks()) == 4
    assert len(re.findall(r"^```yaml", text_of(PAGE), re.M)) == 5  # one is of networks, which no command prints


def test_every_option_of_model_labels_is_on_the_page():
    parser = Command().create_parser("manage.py", "model_labels")
    own = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    of_django = {"--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color"}
    of_django |= {"--force-color", "--skip-checks"}
    assert own - of_django <= set(re.findall(r"--[a-z-]+", text_of(PAGE)))


def test_the_headers_that_traefik_sends_are_those_that_the_gate_reads():
    assert {name.lower().encode() for name in headers.ASKED} == {name for name in WANTED if b"forwarded" not in name}


def test_the_headers_of_the_shipped_files_are_those_of_the_code():
    shipped = text_of("deploy/traefik/dynamic/models.yml")
    assert re.findall(r"^ {10}- ([A-Za-z-]+)$", shipped, re.M) == list(headers.RELAYED)
    assert f"authRequestHeaders: [{', '.join(headers.ASKED)}]" in shipped
    assert f"maxResponseBodySize: {headers.LONGEST_ANSWER}\n" in shipped


def test_nothing_in_the_service_depends_on_the_traefik_app():
    for package in ("authsvc", "console", "api", "accounts", "quotas", "runtime", "store"):
        for file in (ROOT / package).rglob("*.py"):
            assert not re.search(r"^\s*(from|import) traefik\b", file.read_text(), re.M), file
