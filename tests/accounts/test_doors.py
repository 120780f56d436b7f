"""An account follows the same rules, and the audit log uses the same words, whichever door a change comes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.test import Client

from accounts.models import Account, AuditEvent, User
from accounts.services.closing import close_and_erase
from quotas.models import Plan
from tests.accounts.forms import send
from tests.accounts.management.test_commands import run
from tests.api.callers import operator
from tests.conftest import ACTOR

Door = Callable[..., str]


def by_rest(account: Account, **fields: Any) -> str:
    """Sends the fields; returns the refusal, or nothing."""
    client = operator("accounts:write", "plans:assign")
    url = f"/api/v1/accounts/{account.public_id}/"
    answer = client.patch(url, fields, content_type="application/json")
    return "" if answer.status_code == 200 else answer.content.decode()


def by_admin(account: Account, **fields: Any) -> str:
    client = Client()
    client.force_login(User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)[0])
    page = f"/admin/accounts/account/{account.pk}/change/"
    if plan := fields.pop("plan", None):  # has a page of its own, which is sent last
        refusal = by_admin(account, **fields) if fields else ""
        chosen = Plan.objects.get(name=plan).pk
        answer = client.post(f"/admin/accounts/account/{account.pk}/plan/", {"plan": chosen})
        return refusal or ("" if answer.status_code == 302 else answer.content.decode())
    answer = send(client, page, **fields)
    if answer.status_code == 302 and answer["Location"] != page:
        return ""
    shown = answer if answer.status_code == 200 else client.get(page)
    return shown.content.decode()


def by_command(account: Account, *, plan: str) -> str:
    try:
        run("move_account", "--account", account.public_id, "--plan", plan)
    except CommandError as error:
        return str(error)
    return ""


BOTH = pytest.mark.parametrize("door", [by_rest, by_admin])
EVERY = pytest.mark.parametrize("door", [by_rest, by_admin, by_command])


def acts_on(account: Account) -> list[str]:
    events = AuditEvent.objects.filter(account=account.public_id).exclude(act="account.create")
    return list(events.order_by("pk").values_list("act", flat=True))


@EVERY
def test_a_move_is_recorded_as_a_move(account, door: Door):
    assert door(account, plan="pro") == ""
    event = AuditEvent.objects.latest("pk")
    assert (event.act, event.before, event.after) == ("account.move", {"plan": "free"}, {"plan": "pro"})


@EVERY
def test_an_account_that_moves_counts_young_limits_from_now(account, door: Door):
    since = account.plan_since
    door(account, plan="pro")
    account.refresh_from_db()
    assert account.plan_since > since


@BOTH
def test_several_changes_at_once_are_recorded_one_by_one(account, door: Door):
    assert door(account, name="New", plan="pro", max_keys=7, external_id="cus_7") == ""
    assert acts_on(account) == ["account.rename", "account.external_id", "account.cap_keys", "account.move"]


@BOTH
def test_an_erased_account_gets_no_name(account, door: Door):
    close_and_erase(account, actor=ACTOR)
    assert "was closed and erased, which cannot be undone" in door(account, name="Jane Doe")
    assert "Jane" not in str(Account.objects.values_list("name", "external_id"))


@BOTH
def test_an_erased_account_gets_no_external_id(account, door: Door):
    close_and_erase(account, actor=ACTOR)
    assert "was closed and erased, which cannot be undone" in door(account, external_id="jane")
    account.refresh_from_db()
    assert account.external_id is None


@BOTH
def test_no_external_id_is_another_accounts_public_id(account, pro_account, door: Door):
    assert f"An account already has the id {pro_account.public_id}" in door(account, external_id=pro_account.public_id)


@BOTH
def test_a_name_is_one_line_of_printable_characters(account, door: Door):
    assert "one line of printable characters" in door(account, name="a\x1b[2Jb")


def by_rest_override(account: Account, name: str, amount: int) -> str:
    return by_rest(account, overrides={name: {"amount": amount}})


def by_admin_override(account: Account, name: str, amount: int) -> str:
    form = {"overrides-TOTAL_FORMS": "1", "overrides-0-limit_name": name, "overrides-0-amount": str(amount)}
    return by_admin(account, **form)


OVERRIDES = pytest.mark.parametrize("door", [by_rest_override, by_admin_override])


@OVERRIDES
def test_an_override_is_recorded_as_an_override(account, door: Door):
    assert door(account, "minute", 7) == ""
    event = AuditEvent.objects.latest("pk")
    assert event.act == "account.override"
    assert event.after == {"overrides": {"minute": {"amount": 7, "burst": None}}}


@OVERRIDES
def test_an_override_obeys_the_rules_of_the_plans_limit(account, door: Door):
    assert "between 1 and 1000000000" in door(account, "minute", 1_000_000_001)
    assert not account.overrides.exists()
