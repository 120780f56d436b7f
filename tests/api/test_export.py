"""An exported object is the one that its own call answers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account
from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from accounts.services.keys import issue_key, revoke_key, rotate_key
from api.export import _PIECES, ExportOut, _joined
from quotas.limits import Limit
from quotas.models import UsageHour
from tests.api.callers import member_of, operator
from tests.conftest import ACTOR, CATALOGUE

API = "/api/v1"
PAST = "since=1970-01-01T00:00:00Z"


@pytest.fixture
def olga(account, issued) -> Client:
    """The owner of an account that has two of everything that varies."""
    member_of(account, "viewer", "vera")
    for number in range(2):
        invite(account, email=f"guest{number}@example.org", role="member", actor=ACTOR)
        make_management_key(account, name=f"m{number}", scopes=["keys:read"], actor=ACTOR)
    day = Limit(name="day", scope="key", amount=9, window="day", model="sm")
    key = issue_key(account, name="ünï", actor=ACTOR, limits=[day], models=["sm"], metadata={"a": [1.5, None, "é"]}).key
    rotate_key(key, grace=timedelta(hours=1), actor=ACTOR)
    revoke_key(issue_key(account, name="gone", actor=ACTOR).key, actor=ACTOR)
    changes = {"overrides": {"month": {"amount": 2000}}, "max_keys": 7}
    operator("plans:assign").patch(f"{API}/accounts/{account.public_id}/", changes, content_type="application/json")
    for birth, model, hour in ((1, "sm", 10), (2, "sm", 10), (1, "-", 10), (1, "sm", 11)):
        UsageHour.objects.create(
            account=account.public_id,
            key=key.public_id,
            model=model,
            hour=f"2026-01-01T{hour}:00:00Z",
            birth=birth,
            allowed=3,
            refused=1,
            shadow_refused=2,
            units=15,
        )
    return member_of(account, "owner", "olga")


@pytest.fixture
def others(pro_account) -> None:
    """Another account, which has some of everything, too."""
    member_of(pro_account, "viewer", "otto")
    invite(pro_account, email="guest0@example.org", role="member", actor=ACTOR)
    make_management_key(pro_account, name="theirs", scopes=["keys:read"], actor=ACTOR)
    key = issue_key(pro_account, name="theirs", actor=ACTOR).key
    used = {"account": pro_account.public_id, "key": key.public_id, "model": "sm", "birth": 1, "allowed": 3, "units": 3}
    UsageHour.objects.create(hour="2026-01-01T10:00:00Z", **used)


def exported(client: Client, account: Account) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(client.get(f"{API}/accounts/{account.public_id}/export/").getvalue())
    return made


def listed(client: Client, path: str) -> list[Any]:
    """All rows of a list, page by page."""
    rows, url = [], f"{API}/{path}{'&' if '?' in path else '?'}page_size=1"
    while url:
        page = client.get(url).json()
        rows += page["results"]
        url = page["next"]
    return rows


LISTS = {
    "members": "accounts/{id}/members/?order=created",
    "invitations": "accounts/{id}/invitations/?order=created",
    "keys": "keys/?account={id}&order=created",
    "management_keys": "management-keys/?account={id}&order=created",
    "usage": f"usage/?account={{id}}&interval=hour&group_by=key,model&{PAST}",
    "audit": "audit/?account={id}&order=created",
}


@pytest.mark.parametrize("name", LISTS)
def test_exported_rows_are_those_of_the_list(olga, account, others, name):
    rows = exported(olga, account)[name]
    assert len(rows) > 1
    assert rows == listed(olga, LISTS[name].format(id=account.public_id))


def test_usage_of_the_current_hour_is_exported(olga, account, issued):
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    used = {
        "account": account.public_id,
        "key": issued.key.public_id,
        "model": "sm",
        "birth": 1,
        "allowed": 7,
        "units": 7,
    }
    UsageHour.objects.create(hour=hour, **used)
    assert exported(olga, account)["usage"][-1]["allowed"] == 7


def test_the_exported_account_and_its_plan_are_those_that_the_api_shows(olga, account):
    made = exported(olga, account)
    assert made["account"] == olga.get(f"{API}/accounts/{account.public_id}/").json()
    assert [made["plan"]] == listed(olga, f"plans/?account={account.public_id}")


def test_every_part_of_the_export_is_compared_here():
    assert set(ExportOut().fields) == {*LISTS, "account", "plan", "exported_at"}


def test_an_operators_export_shows_the_customers_view_of_the_plan(olga, account, catalogue):
    shadow = '{ name = "trial", per = "key", amount = 5, window = "day", shadow = true },'
    catalogue(CATALOGUE.replace("limits = [\n", f"limits = [\n{shadow}\n", 1))
    made = exported(operator("accounts:write"), account)
    assert made["plan"] == exported(olga, account)["plan"]
    assert [limit["name"] for limit in made["plan"]["limits"]] == ["minute", "month"]


@pytest.mark.parametrize("number", [0, 1, _PIECES - 1, _PIECES, _PIECES + 1, 2 * _PIECES])
def test_no_piece_of_an_export_is_lost(number):
    pieces = [f"{one}," for one in range(number)]
    assert "".join(_joined(iter(pieces))) == "".join(pieces)
