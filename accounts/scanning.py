"""Rules for secret scanners: what this deployment's keys look like, for those who search repositories and logs."""

from __future__ import annotations

import re
from typing import NamedTuple

from accounts.keys import CHECK_LENGTH, ID_LENGTH, SECRET_LENGTH
from accounts.services.credentials import MANAGEMENT, OPERATOR

CRC_LENGTH = 6
LEAST_ENTROPY = 4  # bits a character: random ones have more, placeholders such as xxxx less

# What may stand around a key. The end takes no character away, or of two keys with one space between them the second
# would not be found; a line break in a quoted string is a backslash and a letter.
_BEFORE, _AFTER = r"(?:\b|_|\\[nrt])", r"(?:\b|_)"
_GITHUB_BEFORE, _GITHUB_AFTER = r"\A|[^0-9A-Za-z]|\\[nrt]", r"\z|[^0-9A-Za-z]"


class ScanningRule(NamedTuple):
    """One kind of secret. `pattern` is in the syntax that RE2, Hyperscan and Python share."""

    id: str
    title: str
    description: str
    keyword: str
    pattern: str


def scanning_rules(prefix: str) -> tuple[ScanningRule, ScanningRule]:
    """Keys for models, and credentials of the REST API, which can do more."""
    body = rf"_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH + CHECK_LENGTH + CRC_LENGTH}}}"
    name = re.escape(prefix)
    return (
        ScanningRule(
            f"{prefix}-api-key",
            f"API key ({prefix}_…)",
            "An API key for models. Revoke it: its next request is refused.",
            f"{prefix}_",
            rf"{name}{body}",
        ),
        ScanningRule(
            f"{prefix}-management-key",
            f"Management key or operator token ({prefix}_{MANAGEMENT}_…, {prefix}_{OPERATOR}_…)",
            "A credential of the REST API, which can create and revoke keys. Revoke it, and look into the audit log.",
            f"{prefix}_",
            rf"{name}_(?:{MANAGEMENT}|{OPERATOR}){body}",
        ),
    )


def for_gitleaks(prefix: str) -> str:
    """A configuration of gitleaks that adds the rules to its own."""
    rules = "\n".join(_of_gitleaks(rule) for rule in scanning_rules(prefix))
    return f'title = "Keys that begin with {prefix}_"\n\n[extend]\nuseDefault = true\n\n{rules}'


def _of_gitleaks(rule: ScanningRule) -> str:
    return (
        "[[rules]]\n"
        f'id = "{rule.id}"\n'
        f'description = "{rule.description}"\n'
        f"regex = '''{_BEFORE}({rule.pattern}){_AFTER}'''\n"
        "secretGroup = 1\n"
        f"entropy = {LEAST_ENTROPY}\n"
        f'keywords = ["{rule.keyword}"]\n'
    )


def for_github(prefix: str) -> str:
    """The fields of the form for a custom pattern of GitHub's secret scanning."""
    return "\n".join(
        f"Pattern name:   {rule.title}\n"
        f"Secret format:  {rule.pattern}\n"
        f"Before secret:  {_GITHUB_BEFORE}\n"
        f"After secret:   {_GITHUB_AFTER}\n"
        for rule in scanning_rules(prefix)
    )
