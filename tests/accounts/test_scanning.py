"""The rules for secret scanners find planted keys, and nothing that only resembles one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accounts.keys import Pepper, new_key
from accounts.scanning import for_github, for_gitleaks, scanning_rules
from accounts.services.credentials import prefix_of
from tests.accounts.management.test_commands import run

PEPPER = Pepper.of("p" * 40)
PLACEHOLDER = "ask_XXXXXXXXXXXXXXXX_" + "X" * 44  # which gitleaks leaves out by its entropy
IDS = ("T5c6tKxKnroPXQdG", "7dq0eVEuIUJa0MuA", "Zb3xQ0aLw9Rk2MvN")


def key(number: int = 0, prefix: str = "ask") -> str:
    return new_key(IDS[number], prefix, PEPPER).text


@dataclass
class Planted:
    """A file in which keys were left, and those that a scanner should find."""

    text: str = ""
    keys: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    def plant(self, line: str, secret: str = "", *, is_credential: bool = False) -> None:
        self.text += line.replace("KEY", secret) + "\n"
        if secret:
            (self.credentials if is_credential else self.keys).append(secret)


@pytest.fixture(scope="module")
def planted() -> Planted:
    found = Planted()
    for line in (
        "KEY",
        "MODEL_API=KEY",
        'curl -H "Authorization: Bearer KEY" https://api.example.org/',
        '{"key":"KEY"}',
        r'{"env": "A=1\nKEY\nB=2"}',
        "https://example.org/?key=KEY&model=sm",
        "new WebSocket(url, ['authsvc.key.KEY'])",
        "keys: KEY,",
        "before_KEY_after",
        "(KEY)",
    ):
        found.plant(line, key())
    first, second = key(1), key(2)
    found.text += f"{first} {second}\n{first}\n{second}\n"
    found.keys += [first, second, first, second]
    for kind in ("mgmt", "oper"):
        found.plant(f"{kind}: KEY", key(prefix=prefix_of(kind)), is_credential=True)
    near = key()
    for miss in (
        near[:-1],  # one character short
        near + "x",  # one too many
        "t" + near,  # task_…
        near.replace("ask_", "axk_"),
        near.replace("_", "-"),
        "ask_" + IDS[0] + "_kr…",  # as pages show it
        f"ask_{IDS[0]}",
        near[:30] + "." + near[31:],
        PLACEHOLDER,
    ):
        found.plant(miss)
    return found


def configured() -> dict[str, re.Pattern[str]]:
    """The expressions as they stand in the file for gitleaks, by id."""
    return {rule["id"]: re.compile(rule["regex"]) for rule in tomllib.loads(for_gitleaks("ask"))["rules"]}


def test_every_planted_key_is_found_and_nothing_else(planted):
    patterns = configured()
    found = [one for one in patterns["ask-api-key"].findall(planted.text) if one != PLACEHOLDER]
    assert found == planted.keys
    assert patterns["ask-management-key"].findall(planted.text) == planted.credentials


def test_githubs_patterns_find_the_same(planted):
    for pattern, wanted in zip(github_patterns(), (planted.keys, planted.credentials), strict=True):
        assert [one for one in pattern.findall(planted.text) if one != PLACEHOLDER] == wanted


def github_patterns() -> list[re.Pattern[str]]:
    """The fields in one expression: GitHub looks at what is around a secret without taking it."""
    fields = re.findall(r"Secret format:  (.*)\nBefore secret:  (.*)\nAfter secret:   (.*)\n", for_github("ask"))
    return [re.compile(f"{_behind(before)}{secret}(?={_python(after)})") for secret, before, after in fields]


def _behind(alternatives: str) -> str:
    """A look behind for each alternative: Python wants each of a fixed width."""
    return "(?:" + "|".join(f"(?<={one})" for one in _python(alternatives).split("|")) + ")"


def _python(expression: str) -> str:
    return expression.replace(r"\z", r"\Z")


def test_a_prefix_of_the_operators_own_is_in_every_rule(settings):
    settings.KEY_PREFIX = "acme"
    text = key(prefix="acme")
    for rule in scanning_rules("acme"):
        assert rule.id.startswith("acme-") and rule.keyword == "acme_"
    (found, _) = (re.compile(rule["regex"]) for rule in tomllib.loads(for_gitleaks("acme"))["rules"])
    assert found.findall(f"x {text} {key()}") == [text]


def test_the_command_prints_either_format():
    assert run("secret_scanning_rules") == for_gitleaks("ask")
    assert run("secret_scanning_rules", "--for", "github") == for_github("ask")


@pytest.mark.skipif(not shutil.which("gitleaks"), reason="gitleaks is not on PATH")
def test_gitleaks_itself_finds_them(planted, tmp_path: Path):
    config, report, tree = tmp_path / "rules.toml", tmp_path / "report.json", tmp_path / "tree"
    tree.mkdir()
    (tree / "planted.txt").write_text(planted.text)
    config.write_text(for_gitleaks("ask").replace("useDefault = true", "useDefault = false"))
    scan = ["gitleaks", "dir", "--no-banner", "-c", str(config), "-f", "json", "-r", str(report), str(tree)]
    assert subprocess.run(scan, capture_output=True, timeout=60, check=False).returncode == 1  # something was found
    found = json.loads(report.read_text())
    by_rule = {name: {one["Secret"] for one in found if one["RuleID"] == name} for name in configured()}
    assert by_rule == {"ask-api-key": set(planted.keys), "ask-management-key": set(planted.credentials)}
