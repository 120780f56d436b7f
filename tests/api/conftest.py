"""Every test of the API also tests its schema."""

from __future__ import annotations

import pytest

from tests.api.callers import member_of, program_of
from tests.api.callers import operator as operator_with
from tests.api.conformance import compared


@pytest.fixture(autouse=True)
def _imports_are_enabled(settings):
    settings.IMPORTED_KEYS = True


@pytest.fixture(autouse=True)
def _answers_match_the_schema(monkeypatch):
    with compared(monkeypatch):
        yield


@pytest.fixture
def place(account):
    return f"/api/v1/accounts/{account.public_id}"


@pytest.fixture
def owner(account):
    """A browser in which olga, an owner of the account, is signed in."""
    return member_of(account, "owner", "olga")


@pytest.fixture
def program(account):
    """Has a management key that may change the account's keys."""
    return program_of(account, "keys:write")


@pytest.fixture
def of_acme(account):
    """A program that may read the account's usage."""
    return program_of(account, "usage:read")


@pytest.fixture
def operator_program(account):
    """A program that may read everybody's usage."""
    return operator_with("usage:read")
