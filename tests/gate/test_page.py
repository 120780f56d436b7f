"""decision.py is the page to read first: every verdict is given on it, and a decision does not wander."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from authsvc.gate.app import gate
from authsvc.gate.verdict import Verdict
from tests.gate.conftest import question, raw
from tests.servers import ROOT

PAGE = ROOT / "authsvc/gate/decision.py"
OTHERS = sorted({*ROOT.glob("authsvc/gate/*.py"), ROOT / "authsvc/asgi.py"} - {PAGE, ROOT / "authsvc/gate/verdict.py"})


def verdicts_given(file: Path) -> Iterator[str]:
    """`Verdict.NAME`, or NAME alone, in the file's code, unless it is only compared or asked for its words."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(parents.get(node), ast.Compare | ast.Attribute):
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Verdict":
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in Verdict.__members__:
            yield node.id


def test_every_verdict_is_given_in_decision():
    assert set(verdicts_given(PAGE)) == {verdict.name for verdict in Verdict}


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.name)
def test_no_other_file_gives_a_verdict(file):
    assert list(verdicts_given(file)) == []


def test_the_steps_stand_on_the_page_in_the_order_in_which_they_are_taken():
    text = PAGE.read_text(encoding="utf-8")
    steps = ["def decide", "def read_request", "def read_key", "def judge(", "RULES: tuple", "def confirm"]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)


async def entries(key: str) -> Counter[str]:
    """How often each file of the product is entered from a different one, by a call or a resumed coroutine."""
    entered: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (file := _of_product(frame)) is not None and file != _of_product(frame.f_back):
            entered[file] += 1

    headers = raw(question(key))
    for _ in range(2):
        assert (await gate().answer("/auth/", b"model=sm", headers)).status == 200
    sys.setprofile(note)
    try:
        await gate().answer("/auth/", b"model=sm", headers)
    finally:
        sys.setprofile(None)
    return entered


def _of_product(frame: FrameType | None) -> str | None:
    file = Path(frame.f_code.co_filename) if frame is not None else ROOT
    inside = file.relative_to(ROOT).parts if file.is_relative_to(ROOT) else ()
    return "/".join(inside) if inside and inside[0] in {"authsvc", "accounts", "quotas", "runtime", "store"} else None


@pytest.mark.django_db(transaction=True)
def test_a_warm_decision_enters_decision_once_and_once_more_when_redis_has_answered(on_a_loop, issued):
    entered = on_a_loop(entries(issued.text))
    assert entered["authsvc/gate/decision.py"] == 2
    assert len(entered) <= 15, entered  # counting for /metrics enters three
