"""Docs that state facts, compared with the code."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from types import FunctionType

import pytest
from django.apps import apps

from accounts.measured import Turns, outbox
from authsvc.gate.forwarded import WANTED
from authsvc.gate.verdict import Verdict
from deploy.demo.run import EXAMPLES
from runtime import health
from store import names
from store.condition import Condition
from store.examination import Examination
from tests import test_layers as layers

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
OF_TESTS = {
    f"AUTHSVC_TEST_{name}"
    for name in (
        "DATABASE_URL",
        "POSTGRES_URL",
        "RENEW",
        "FAULT_ROUNDS",
        "FIRE_SECONDS",
        "PORTS_SECONDS",
        "UPGRADE_KEYS",
    )
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def text_of(*names_: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names_)


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading; a `|` inside of code would need another reader."""
    section = page.partition(f"\n{heading}\n")[2]
    found = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert found, f"there is no table below {heading!r}"
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in found[0].splitlines()[2:]]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Configuration


def variables() -> dict[str, str]:
    """Every variable that the readers of env, hosts and listening read, with its default as the page writes it."""
    found: dict[str, str] = {}
    for file in ("authsvc/settings.py", "deploy/gunicorn.conf.py"):
        for node in ast.walk(ast.parse(text_of(file))):
            if isinstance(node, ast.Call) and re.fullmatch(
                r"env\.\w+|hosts\.(web_address|optional_address|host_names)|listening\.addresses",
                ast.unparse(node.func),
            ):
                name = ast.literal_eval(node.args[0])
                default = default_of(ast.unparse(node.func), node)
                assert found.setdefault(name, default) == default, f"{name} has two defaults"
    return found


def default_of(reader: str, call: ast.Call) -> str:
    if reader == "env.secret":
        return "required"
    if reader == "env.flag":
        return str(int(next(ast.literal_eval(word.value) for word in call.keywords if word.arg == "default")))
    if reader == "env.old_secret":
        return "none"
    default = call.args[1]
    if isinstance(default, ast.IfExp):
        default = default.orelse  # without DEBUG
    if isinstance(default, ast.JoinedStr):
        return ast.unparse(default).strip("f'").replace("{", "").replace("}", "")
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return "2 to 4, by cores"  # the one that is computed
    return "required" if value is None else "none" if value == "" else str(value)


def test_the_table_of_variables_is_that_of_the_code():
    rows = rows_of(text_of("docs/reference/configuration.md"), "## Variables")
    documented = {code_in(row[0])[0]: row[1].strip("`") for row in rows}
    assert documented == variables()


def test_a_variable_that_a_page_names_exists():
    known = {*variables(), *OF_TESTS}
    for page in PAGES:
        assert set(re.findall(r"\bAUTHSVC_[A-Z_]+\b", page.read_text())) <= known, page.name


# Commands

COMMANDS = "docs/reference/commands.md"


def commands() -> set[str]:
    files = ROOT.glob("*/management/commands/*.py")
    return {file.stem for file in files if file.stem != "__init__"}


def test_every_command_is_in_the_docs_and_every_one_named_exists():
    of_django = {"migrate", "check", "createsuperuser", "runserver"}
    named = set(re.findall(r"manage\.py ([a-z_]+)", "\n".join(page.read_text() for page in PAGES)))
    assert named - of_django <= commands()
    assert {code_in(row[0])[0].split()[0] for row in rows_of(text_of(COMMANDS), "## Every command")} == commands()


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_option_of_a_command_is_in_the_docs(command):
    (file,) = ROOT.glob(f"*/management/commands/{command}.py")
    options = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', file.read_text()))
    row = next(row for row in rows_of(text_of(COMMANDS), "## Every command") if f"`{command}" in row[0])
    assert options <= set(re.findall(r"--[a-z-]+", f"{row[0]} {row[1]} {row[2]}"))


def test_every_verb_that_a_page_names_is_in_the_makefile():
    verbs = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.M))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.M)) <= verbs, page.name


# Answers


def test_the_table_of_answers_is_that_of_the_code():
    documented = {}
    for _, words, status, code, _ in rows_of(text_of("docs/reference/answers.md"), "## Every answer"):
        first, *with_403 = map(int, status.split(" or "))
        for word in code_in(words):
            documented[word] = (first, with_403[0] if with_403 else first, (code_in(code) or [""])[0])
    assert documented == {
        verdict.word: (verdict.status, 403 if verdict is Verdict.OVER_LIMIT else verdict.status, verdict.code)
        for verdict in Verdict
    }


def test_the_traefik_examples_list_the_headers_of_the_stacks():
    stacks, page = text_of("deploy/traefik/dynamic/models.yml"), text_of("docs/forward-auth.md")
    answered = re.findall(r"^ {10}- ([A-Za-z-]+)$", stacks, re.M)
    (asked,) = re.findall(r"authRequestHeaders: \[(.*)\]", stacks)
    assert {name.lower().encode() for name in asked.split(", ")} == {w for w in WANTED if b"forwarded" not in w}
    assert re.findall(r"^ {10}- ([A-Za-z-]+)$", page, re.M) == answered
    assert f"authResponseHeaders: {','.join(answered)}\n" in page
    assert f"authRequestHeaders: [{asked}]" in page
    assert f"authRequestHeaders: {asked.replace(', ', ',')}\n" in page


def test_the_labels_for_an_existing_traefik_are_twelve_at_most_and_those_that_the_command_prints(tmp_path):
    page = text_of("docs/existing-traefik.md")
    (block,) = [one for one in re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S) if one.startswith("services:")]
    labels = block.splitlines()[3:]
    (words,) = re.findall(r"python manage\.py (model_labels [^`]+)`", " ".join(page.split()))
    secrets = {"SECRET_KEY": "s" * 40, "KEY_PEPPER": "p" * 40, "REDIS_URL": "redis://none"}
    printed = subprocess.run(
        [sys.executable, "manage.py", *shlex.split(words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **secrets, "DATABASE_URL": f"sqlite:///{tmp_path}/none"},
    ).stdout
    assert 0 < len(labels) <= 12
    assert printed.splitlines()[-len(labels) :] == labels


def test_the_calls_of_the_readme_are_those_that_the_demo_prints():
    told = EXAMPLES.format(
        gateway="http://127.0.0.1:8080",
        free="FREE_KEY",
        pro="PRO_KEY",
        console="",
        keys="",
        logs="",
        manage="",
        operator="",
        people="",
    )
    calls = re.findall(r"^ *\$? *curl -[iN] .*\\\n.*'$", told, re.M)
    assert len(calls) == 3
    shown = [words_of(call) for call in re.findall(r"^\$ (curl -[iN] .*\\\n.*)$", README.read_text(), re.M)]
    assert shown == [words_of(call) for call in calls]


def words_of(call: str) -> list[str]:
    return shlex.split(call.replace("\\\n", " "))


# Metrics


@pytest.mark.django_db
def test_the_table_of_metrics_is_that_of_the_code(monkeypatch):
    monkeypatch.setattr(health._numbers, "store", Examination(conditions=(Condition("noeviction", 1, 2),)))
    found = [*health._numbers.collect(), *outbox(), *Turns().metrics()]
    suffixes = {"counter": "_total", "info": "_info"}
    types = {"info": "gauge"}  # in the text format
    rows = rows_of(text_of("docs/reference/metrics.md"), "## Metrics")
    assert {code_in(row[0])[0]: row[1] for row in rows} == {
        metric.name + suffixes.get(metric.type, ""): types.get(metric.type, metric.type) for metric in found
    }


# Redis


def key_names() -> set[str]:
    made = [
        names.CATALOGUE,
        names.LIFE,
        names.DEPLOYMENT,
        names.PROCESSES,
        names.MAILBOX,
        names.catalogue_version("P"),
        names.account("ACCOUNT"),
        names.usage("KEY", "MODEL", 0).removesuffix("0") + "HOUR",
        names.changed("P"),
        names.bucket("SUBJECT", "MODEL", "UNIT", "WINDOW"),
        names.unknown("KEY"),
        names.imported("DIGEST"),
        names.new_digests("P"),
        names.repaid("P", "DEBT"),
        names.probe("P"),
        names.throttle("NAME", "WHO"),
    ]
    return {re.sub(r"^\{\w\w?\}", "{P}", name) for name in made}


def test_no_name_of_a_redis_key_is_left_out():
    others = {"partition", "field", "read_usage", "is_usage", "counter"}
    makers = {name for name, one in vars(names).items() if isinstance(one, FunctionType)} - others
    single = {names.CATALOGUE, names.LIFE, names.DEPLOYMENT, names.PROCESSES, names.MAILBOX}
    assert len(key_names()) == len(makers) + len(single)


def test_the_names_of_redis_keys_are_those_of_the_code():
    page = text_of("docs/architecture.md")
    documented = [code_in(row[0])[0] for row in rows_of(page, "## Limits and usage in Redis")]
    assert len(documented) == len(set(documented))
    assert set(documented) == key_names()
    assert {"v", "f", "l"} == {names.VERSION, names.FACTS, names.LOADED}
    for field in names.counter("SUBJECT", "MODEL", "UNIT", "WINDOW"):
        assert f"`{field}`" in page


# Dependencies


def test_every_dependency_has_its_reason():
    project = tomllib.loads(text_of("pyproject.toml"))
    wanted = [*chain(project["project"]["dependencies"], *project["dependency-groups"].values())]
    packages = {re.split(r"[<>=]", one)[0] for one in wanted}
    page = text_of("docs/decisions/0002-dependencies.md")
    documented = {name for line in page.splitlines() if line.startswith("| `") for name in code_in(line.split("|")[1])}
    assert documented == packages


# Drawings


def drawing(page: str, kind: str) -> str:
    """The first Mermaid diagram of this kind on a page."""
    found: list[str] = re.findall(r"^```mermaid\n(.*?)^```$", text_of(page), re.M | re.S)
    return next(block for block in found if kind in block)


def imports_of_rooms() -> set[tuple[str, str]]:
    """Which room imports from which, doors left aside."""
    found = set()
    for file in layers.product():
        if not layers.is_door(file):
            own = layers.room_of(layers.module_of(file))
            others = {layers.room_of(module) for _, module in layers.imports_of(file)}
            found |= {(own, other) for other in others if own and other and other != own}
    return found


def without_what_follows(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that are not implied by a longer way."""

    def reaches(start: str, end: str) -> bool:
        return any(to == end or reaches(to, end) for at, to in arrows if at == start)

    return {
        (start, end)
        for start, end in arrows
        if not any(reaches(to, end) for at, to in arrows if at == start and to != end)
    }


def test_the_drawing_of_the_rooms_is_that_of_the_imports():
    drawn = re.findall(r"^  (\w+)(?:\[.*?\])? --> (\w+)", drawing("docs/architecture.md", "flowchart"), re.M)
    names_of = {"gate": "authsvc.gate"}
    assert {(names_of.get(a, a), names_of.get(b, b)) for a, b in drawn} == without_what_follows(imports_of_rooms())


def test_the_drawing_of_the_tables_is_that_of_the_models():
    drawn = re.findall(r"^  (\w+) (\S+?)--(\S+) (\w+) : ", drawing("docs/architecture.md", "erDiagram"), re.M)
    ends = {"||": "one", "|o": "none or one", "o|": "none or one", "}o": "many", "o{": "many"}
    found = {(left, ends[at], ends[to], right) for left, at, to, right in drawn}
    found |= {(right, at, to, left) for left, to, at, right in found}
    related = set()
    for model in (*apps.get_app_config("accounts").get_models(), *apps.get_app_config("quotas").get_models()):
        for field in model._meta.get_fields():
            other = field.related_model
            if not field.concrete or other is None or isinstance(other, str) or other._meta.app_label == "auth":
                continue
            if field.name in {"created_by", "users"}:
                continue
            ours = "many"
            theirs = "many" if field.many_to_many else "none or one" if getattr(field, "null", False) else "one"
            related |= {(model.__name__, ours, theirs, other.__name__), (other.__name__, theirs, ours, model.__name__)}
    assert found == related


# Links and words


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_is_in_the_navigation_of_the_site():
    """`make docs` fails on one that is not. Decisions are reached by their index."""
    listed = set(re.findall(r"([\w/-]+\.md)$", text_of("mkdocs.yml").partition("\nnav:")[2], re.M))
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert {page for page in pages if not page.startswith("decisions/0")} <= listed


def test_every_decision_is_in_the_index_and_has_the_same_form():
    notes = sorted(ROOT.glob("docs/decisions/0*.md"))
    listed = re.findall(r"^\| \[\d{4}\]\((.*?)\)", text_of("docs/decisions/README.md"), re.M)
    assert sorted(listed) == [note.name for note in notes]
    for note in notes:
        text = note.read_text()
        assert re.findall(r"^## (.*)$", text, re.M) == ["Context", "Decision", "Consequences"], note.name
        assert text.startswith(f"# {note.name[:4]}: ")


def test_files_that_pages_name_exist():
    for page in PAGES:
        for name in re.findall(
            r"`((?:authsvc|console|api|traefik|accounts|quotas|runtime|store|deploy|tests|samples|docs)/[\w./-]+)`",
            page.read_text(),
        ):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


@cache
def tracked_texts() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("this is no checkout of git")
    texts = {}
    for name in filter(None, listed.split("\0")):
        try:
            texts[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # no text, or taken away and not committed yet
    return texts


PARTS_OF_NO_ADDRESS = ["pypi" + ".org", "files.python" + "hosted", "/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"]


@pytest.mark.parametrize("part", PARTS_OF_NO_ADDRESS)
def test_no_file_names_an_index_or_a_place_of_some_machine(part):
    assert [name for name, text in tracked_texts().items() if part in text] == []


def test_no_page_holds_a_key():
    """Examples come from real runs: none may have kept its secret."""
    whole = re.compile(r"ask_[0-9A-Za-z]{16}_[0-9A-Za-z]{20}")
    assert [page.name for page in PAGES if whole.search(page.read_text())] == []
