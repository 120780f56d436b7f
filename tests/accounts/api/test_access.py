"""The page that says who may do what, compared with the code."""

from __future__ import annotations

from accounts import throttles
from accounts.api.access import ANY, EVERY_ROLE, Action
from accounts.throttles import Throttle
from tests.test_docs import code_in, rows_of, text_of

ROLES = ("owner", "admin", "member", "viewer")


def roles(action: Action) -> str:
    if action.roles == EVERY_ROLE:
        return "everybody"
    named = [role for role in ROLES if role in action.roles]
    return ", ".join([*named, *(f"{role}: their own" for role in ROLES if role in action.own)])


def scope(word: str) -> str:
    return "any" if word == ANY else f"`{word}`" if word else ""


def test_the_table_of_actions_is_that_of_the_code():
    documented = rows_of(text_of("docs/access.md"), "## The table")
    assert documented == [
        [action.words, roles(action), scope(action.management), scope(action.operator)] for action in Action
    ]


def test_the_table_of_throttles_is_that_of_the_code():
    documented = {
        code_in(what)[0]: (often, without)
        for what, often, _, without in rows_of(text_of("docs/access.md"), "## Throttles")
    }
    known = [one for one in vars(throttles).values() if isinstance(one, Throttle)]
    assert documented == {
        one.name: (f"{one.calls} in {one.seconds} s", "goes on" if one.goes_on_without_redis else "503")
        for one in known
    }
