"""schemathesis sends the running service everything that the schema allows, and what it does not.

AUTHSVC_TEST_FUZZ (a number) multiplies the cases: the default suits every run, 50 a night.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.models import Account
from accounts.services.invitations import invite
from accounts.services.keys import issue_key
from api.urls import OPERATIONS
from tests.conftest import ACTOR
from tests.service.conftest import by_management_key, by_operator_token, by_session

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

CASES = 8 * int(os.environ.get("AUTHSVC_TEST_FUZZ", "1"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CALLERS: dict[str, Callable[[Account], requests.Session]] = {
    "a session": by_session,
    "a management key": by_management_key,
    "an operator token": lambda account: by_operator_token(),
    "nobody": lambda account: requests.Session(),
}


def refuses_what_the_schema_forbids(ctx, response, case):
    """Surrounding spaces are stripped, so a length may be valid although the schema counts them."""
    texts = [*(case.body.values() if isinstance(case.body, dict) else ()), *(case.query or {}).values()]
    if not any(isinstance(text, str) and text != text.strip() for text in texts):
        negative_data_rejection(ctx, response, case)


@pytest.fixture(scope="module")
def described(service):
    schema: Any = schemathesis.openapi.from_url(f"{service}/api/v1/schema/", timeout=20)
    return {one.ok().definition.raw["operationId"]: one.ok() for one in schema.get_all_operations()}


@pytest.fixture
def places(account) -> dict[str, str]:
    """Existing ids, by the path segment before them."""
    account.external_id = "cus_1"
    account.save()
    by_session(account, "admin")  # a member to change and remove
    return {
        "accounts": account.public_id,
        "by-external-id": "cus_1",
        "keys": issue_key(account, name="k", actor=ACTOR).key.public_id,
        "members": account.memberships.get().public_id,
        "invitations": invite(account, email="guest@example.org", role="member", actor=ACTOR).public_id,
    }


def found_in(path: str, places: dict[str, str]) -> dict[str, str]:
    """Values of path parameters that exist."""
    steps = path.strip("/").split("/")
    return {
        step.strip("{}"): places[before]
        for before, step in pairwise(steps)
        if step.startswith("{") and before in places
    }


@pytest.mark.parametrize("name", sorted(one.id for one in OPERATIONS.values()))
def test_every_answer_is_declared_and_none_is_an_internal_error(service, described, account: Account, places, name):
    operation, real = described[name], found_in(described[name].path, places)
    takes_something = operation.body or operation.query or operation.path_parameters
    for caller, of in CALLERS.items():
        session, cases = of(account), CASES if caller != "nobody" else 1

        def ask(mode, checks, path_parameters=None, session=session, cases=cases):
            @seed(1)
            @settings(
                max_examples=cases,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(mode, path_parameters=path_parameters))
            def run(case):
                response = case.call(base_url=service, session=session, timeout=60)
                case.validate_response(response, checks=checks)

            run()

        ask(GenerationMode.POSITIVE, CHECKS, real or None)
        if takes_something:
            ask(GenerationMode.NEGATIVE, [*CHECKS, refuses_what_the_schema_forbids])
