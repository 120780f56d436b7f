"""The cost of lists with ten keys and with ten thousand."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.facts.publish import models_base
from accounts.models import ApiKey, KeySecret
from tests.api.callers import member_of, operator, program_of

pytestmark = pytest.mark.slow

LISTS = (
    "keys/?page_size=500",
    "keys/?order=name",
    "keys/?name=5&active=true",
    "keys/?order=-name&revoked=false",
    "me/",
    "audit/",
    "accounts/",
)


def add_keys(account, number):
    """Keys as rows of the database; publishing so many is not part of this."""
    made = models_base(ApiKey).bulk_create(
        [ApiKey(public_id=keys.new_key_id(account.public_id), account=account, name=f"key {n}") for n in range(number)]
    )
    models_base(KeySecret).bulk_create(
        [KeySecret(key=key, digest=key.public_id, pepper="p", minted_pepper="p", start="ask_") for key in made]
    )


def test_lists_take_no_more_queries_for_ten_thousand_keys_than_for_ten(account):
    asking = {
        "owner": member_of(account, "owner"),
        "program": program_of(account, "keys:read"),
        "operator": operator("keys:write", "accounts:write"),
    }

    def counts():
        found = {}
        for who, client in asking.items():
            client.get("/api/v1/me/")  # records the credential's use
            for url in LISTS:
                with CaptureQueriesContext(connection) as counted:
                    status = client.get(f"/api/v1/{url}").status_code
                found[who, url] = (status, len(counted))
        return found

    add_keys(account, 10)
    with_ten = counts()
    add_keys(account, 9_990)
    assert counts() == with_ten
    assert {queries for _, queries in with_ten.values()} <= set(range(1, 8))


def test_paging_reaches_the_last_of_ten_thousand_keys(account):
    add_keys(account, 10_000)
    client, url, seen = program_of(account, "keys:read"), "/api/v1/keys/?page_size=500&order=name", []
    while url:
        page = client.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 10_000
