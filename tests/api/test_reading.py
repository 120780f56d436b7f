"""`me`, models, plans and the audit log: who may read what, and the filters."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, User
from accounts.services.accounts import close_account, rename_account
from accounts.services.roles import set_role
from quotas.models import ServedModel
from tests.api.callers import member_of, operator, program_of
from tests.conftest import ACTOR, CATALOGUE


def results(client, path, **query):
    response = client.get(f"/api/v1/{path}/", query)
    assert response.status_code == 200, response.content
    return response.json()["results"]


def test_me_shows_the_caller(account):
    of_account = {"id": account.public_id, "name": "acme"}
    assert member_of(account, "admin", "adam").get("/api/v1/me/").json() == {
        "kind": "session",
        "id": "adam",
        "email": "adam@example.org",
        "is_operator": False,
        "scopes": [],
        "accounts": [{**of_account, "role": "admin"}],
    }
    program = program_of(account, "keys:write").get("/api/v1/me/").json()
    assert program["scopes"] == ["keys:read", "keys:write"] and program["accounts"] == [{**of_account, "role": None}]
    assert operator("usage:read").get("/api/v1/me/").json()["is_operator"] is True


def test_me_shows_the_first_accounts_of_somebody_who_has_many(account, pro_account, monkeypatch):
    monkeypatch.setattr("api.me.MOST_ACCOUNTS", 1)
    client = member_of(account, "viewer", "vera")
    set_role(pro_account, User.objects.get(username="vera"), "viewer", actor=ACTOR)
    assert [row["name"] for row in client.get("/api/v1/me/").json()["accounts"]] == ["acme"]


def test_a_customer_sees_its_own_plan_and_models(account, pro_account):
    of_free, of_pro = program_of(account, "keys:read"), program_of(pro_account, "keys:read")
    assert results(of_free, "models") == [
        {
            "id": "sm",
            "title": "small",
            "url": "http://127.0.0.1:8080/sm",
            "cost": 1,
            "enabled": True,
            "speaks": "",
            "example": None,
        }
    ]
    assert [model["id"] for model in results(of_pro, "models")] == ["lg", "sm"]
    (plan,) = results(of_free, "plans")
    assert (plan["id"], plan["models"]) == ("free", ["sm"])
    assert plan["limits"][0] == {
        "name": "minute",
        "per": "key",
        "amount": 60,
        "window": "minute",
        "unit": "requests",
        "model": "*",
        "burst": 10,
        "shadow": False,
    }
    assert [plan["id"] for plan in results(operator("usage:read"), "plans")] == ["free", "pro"]


def test_only_operators_see_disabled_models_and_shadow_limits(catalogue, account):
    catalogue(CATALOGUE.replace('unit = "units" },\n    ]', 'unit = "units", shadow = true },\n    ]', 1))
    model = ServedModel.objects.get(slug="sm")
    model.enabled = False
    model.save()
    customer, staff = program_of(account, "keys:read"), operator("keys:write")
    assert results(customer, "models") == [] and len(results(staff, "models")) == 2
    assert len(results(customer, "plans")[0]["limits"]) == 1
    assert len(results(staff, "plans", account=account.public_id)[0]["limits"]) == 2


def test_the_audit_log_is_filtered(account):
    owner = member_of(account, "owner")
    since = timezone.now()
    rename_account(account, "new", actor=ACTOR)
    acts = [event["act"] for event in results(owner, "audit")]
    assert acts == ["account.rename", "account.member", "account.create"]
    assert len(results(owner, "audit", act="account.m")) == 1
    assert len(results(owner, "audit", subject=account.public_id)) == 3 and not results(owner, "audit", subject="x")
    assert [event["act"] for event in results(owner, "audit", since=since.isoformat())] == ["account.rename"]
    assert len(results(owner, "audit", until=since.isoformat())) == 2
    assert [event["act"] for event in results(owner, "audit", order="created")] == acts[::-1]


def test_the_audit_log_is_filtered_from_a_moment_on_until_just_before_another(account):
    owner = member_of(account, "owner")
    last, first = AuditEvent.objects.order_by("-at")[:2]
    assert [event["act"] for event in results(owner, "audit", since=last.at.isoformat())] == [last.act]
    assert [event["act"] for event in results(owner, "audit", until=last.at.isoformat())] == [first.act]


def test_a_subject_of_the_audit_log_is_named_in_full(account):
    owner = member_of(account, "owner")
    assert not results(owner, "audit", subject=account.public_id[:-1])


def test_only_operators_read_events_without_an_account(account):
    AuditEvent.objects.create(actor="x", act="user.create", subject="mia")
    assert "user.create" in [event["act"] for event in results(operator("accounts:write"), "audit")]
    assert "user.create" not in [event["act"] for event in results(member_of(account, "owner"), "audit")]


@pytest.mark.parametrize(
    "query", [{"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"act": "x" * 41}, {"order": "act"}]
)
def test_an_invalid_filter_is_refused_and_named(account, query):
    response = member_of(account, "owner").get("/api/v1/audit/", query)
    assert response.status_code == 400 and response.json()["errors"][0]["field"] == next(iter(query))


def test_people_can_still_read_a_closed_account(account):
    owner = member_of(account, "owner")
    close_account(account, actor=ACTOR)
    assert results(owner, "accounts")[0]["status"] == "closed"
