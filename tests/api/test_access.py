"""docs/access.md, compared with the code."""

from __future__ import annotations

from itertools import pairwise

import pytest

from accounts import caps
from accounts.authority import (
    MANAGEMENT_SCOPES,
    OPERATOR_SCOPES,
    RANKS,
    Authority,
    actions_of_role,
    scopes_to_give,
    with_implied,
)
from api.openapi.__main__ import with_table
from api.openapi.who import ROLES, access_table
from api.urls import OPERATIONS
from store import throttles
from store.throttles import Throttle
from tests.test_docs import code_in, rows_of, text_of


def test_the_table_of_actions_is_the_generated_one():
    page = text_of("docs/access.md")
    assert page == with_table(page, access_table(OPERATIONS.values())), "run: make schema"


def operator(*scopes: str) -> Authority:
    return Authority("person", with_implied(scopes))


def test_the_table_of_scopes_that_can_be_given_matches_the_code():
    documented = rows_of(text_of("docs/access.md"), "### Scopes")
    assert [code_in(scope)[0] for scope, _, _ in documented] == list(MANAGEMENT_SCOPES)
    for cell, who, needed in documented:
        (given,) = code_in(cell)
        assert who == ", ".join(role for role in ROLES if given in scopes_to_give(Authority("person", role=role)))
        scopes = code_in(needed)
        assert given in scopes_to_give(operator(*scopes))
        for missing in scopes:
            assert given not in scopes_to_give(operator(*{*OPERATOR_SCOPES} - {missing}))


def test_the_table_of_roles_that_can_be_given_matches_the_code():
    documented = dict(rows_of(text_of("docs/access.md"), "### Roles"))
    assert documented == {
        **{role: Authority("person", role=role).highest_role or "" for role in ROLES},
        "management key with `members:write`": Authority("management_key", frozenset(MANAGEMENT_SCOPES)).highest_role,
        "operator token with `accounts:write`": Authority("operator_token", frozenset(OPERATOR_SCOPES)).highest_role,
        "staff with `accounts:write`": operator("accounts:write").highest_role,
        "staff with `accounts:write`, `keys:write`, `usage:read`": operator(
            "accounts:write", "keys:write", "usage:read"
        ).highest_role,
        "superuser": operator(*OPERATOR_SCOPES).highest_role,
    }


@pytest.mark.parametrize("lacking", OPERATOR_SCOPES)
def test_staff_without_every_scope_cannot_give_a_role_above_member(lacking):
    highest = operator(*{*OPERATOR_SCOPES} - {lacking}).highest_role
    assert highest == {"accounts:write": None, "plans:assign": "owner"}.get(lacking, "member")


def test_each_role_may_do_everything_that_the_role_below_may():
    """The meaning of "above" and "below" for roles relies on this."""
    for lower, higher in pairwise(RANKS):
        assert actions_of_role(lower) <= actions_of_role(higher)


def test_the_table_of_how_much_an_account_may_have_matches_the_code():
    page = text_of("docs/access.md")
    documented = {what: most for what, most, _ in rows_of(page, "## How much an account may have")}
    wanted = {
        "management keys that are neither revoked nor expired": f"{caps.MOST_MANAGEMENT_KEYS}",
        "members": f"{caps.MOST_MEMBERS}",
        "overrides of limits": f"{caps.MOST_OVERRIDES}",
        "of one key: its own limits, networks, models": f"{caps.MOST_LIMITS}, {caps.MOST_NETWORKS}, {caps.MOST_MODELS}",
    }
    assert {what: documented[what] for what in wanted} == wanted
    assert f"most {caps.MOST_OPERATOR_TOKENS} operator tokens" in page


def test_the_table_of_throttles_matches_the_code():
    documented = {
        code_in(what)[0]: (often, without)
        for what, often, _, without in rows_of(text_of("docs/access.md"), "## Throttles")
    }
    known = [one for one in vars(throttles).values() if isinstance(one, Throttle)]
    assert documented == {
        one.name: (f"{one.calls} in {one.seconds} s", "works" if one.goes_on_without_redis else "503") for one in known
    }
