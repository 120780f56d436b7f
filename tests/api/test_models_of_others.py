"""Models outside of a plan: customers learn nothing about them, operators everything."""

from __future__ import annotations

import json
import re

import pytest

from accounts.models import ApiKey
from accounts.services.accounts import move_account
from accounts.services.keys import issue_key
from quotas.limits import Limit
from quotas.models import Plan
from tests.api.callers import member_of, operator, program_of
from tests.conftest import ACTOR, CATALOGUE

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = "/api/v1/keys/"
LIMIT = {"name": "own", "amount": 5, "window": "day"}


def errors(response) -> list[dict[str, str]]:
    assert response.status_code == 400, response.content
    found: list[dict[str, str]] = response.json()["errors"]
    return found


def send(client, url: str, verb: str = "post", /, **body):
    return getattr(client, verb)(url, json.dumps(body), content_type="application/json")


WAYS = {
    "in models": (lambda slug: {"models": [slug]}, "models"),
    "among models of the plan": (lambda slug: {"models": ["sm", slug]}, "models"),
    "in a limit": (lambda slug: {"limits": [LIMIT | {"model": slug}]}, "limits"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_refused_a_model_outside_of_the_plan_as_one_that_does_not_exist(owner, issued, way):
    body_with, field = WAYS[way]
    for slug in ("lg", "xl"):  # lg belongs to the plan pro, xl does not exist
        expected = [{"field": field, "detail": f"Unknown model {slug}; the plan free has sm."}]
        assert errors(send(owner, KEYS, name="k", **body_with(slug))) == expected
        assert errors(send(owner, f"{KEYS}{issued.key.public_id}/", "patch", **body_with(slug))) == expected
    assert ApiKey.objects.count() == 1


def test_a_program_is_refused_too_but_an_operator_is_not(account):
    assert errors(send(program_of(account, "keys:write"), KEYS, name="k", models=["lg"]))
    made = send(operator("keys:write"), KEYS, name="k", account=account.public_id, models=["lg"])
    assert (made.status_code, made.json()["models"]) == (201, ["lg"])


def test_a_disabled_model_of_the_plan_is_unknown_too(owner, catalogue):
    catalogue(CATALOGUE.replace('title = "small"', "enabled = false"))
    assert (
        errors(send(owner, KEYS, name="k", models=["sm"]))[0]["detail"] == "Unknown model sm; the plan free has none."
    )


def test_a_key_keeps_the_models_that_it_had_when_its_plan_had_them(pro_account, catalogue):
    owner = member_of(pro_account, "owner")
    key = issue_key(
        pro_account,
        name="k",
        models=["lg"],
        actor=ACTOR,
        limits=[Limit(name="own", scope="key", amount=9, window="day", model="lg")],
    ).key
    move_account(pro_account, Plan.objects.get(name="free"), actor=ACTOR)
    where = f"{KEYS}{key.public_id}/"
    changed = send(owner, where, "patch", models=["lg", "sm"], limits=[LIMIT | {"model": "lg"}])
    assert (changed.status_code, changed.json()["models"]) == (200, ["lg", "sm"])
    assert errors(send(owner, where, "patch", models=["xl"]))


def test_limits_are_shown_only_for_models_that_the_key_can_call(account, pro_account):
    narrowed = issue_key(pro_account, name="k", models=["sm"], actor=ACTOR).key
    of_free, of_pro = program_of(account, "usage:read"), program_of(pro_account, "usage:read")
    free = issue_key(account, name="k", actor=ACTOR).key
    for client, key in ((of_free, free), (of_pro, narrowed)):
        answers = [
            errors(client.get("/api/v1/limits/", {"key": key.public_id, "model": slug})) for slug in ("lg", "xl")
        ]
        assert answers == [[{"field": "model", "detail": "Unknown model. Known models: sm."}]] * 2
        assert client.get("/api/v1/limits/", {"key": key.public_id, "model": "sm"}).status_code == 200


def test_an_operator_sees_the_limits_of_every_model(issued):
    client = operator("usage:read")
    body = client.get("/api/v1/limits/", {"key": issued.key.public_id, "model": "lg"}).json()
    assert (body["model"], body["cost"]) == ("lg", 5)
    (fault,) = errors(client.get("/api/v1/limits/", {"key": issued.key.public_id, "model": "xl"}))
    assert fault["detail"] == "Unknown model. Known models: lg, sm."


LARGE_LIMIT = '{ name = "large", per = "key", amount = 7, window = "day", model = "lg" },'


@pytest.fixture
def with_a_limit_for_lg(catalogue, account):
    """The plan `free` has a limit for a model that it does not include."""
    month = '  { name = "month", per = "account", amount = 1000'
    catalogue(CATALOGUE.replace(month, f"  {LARGE_LIMIT}\n{month}", 1))


@pytest.mark.parametrize("asked", [{"model": "lg"}, {"path": "/v1/large/x"}])
def test_explain_hides_cost_and_limits_of_a_model_that_the_key_may_not_use(
    owner, issued, with_a_limit_for_lg, dearer, asked
):
    dearer("lg", 2000)
    body = send(owner, "/api/v1/explain/", key=issued.key.public_id, **asked).json()
    outcomes = {check["check"]: check["outcome"] for check in body["checks"]}
    assert (body["verdict"], body["retry_after"]) == ("model_not_allowed", None)
    assert outcomes["cost_over_burst"] == outcomes["over_limit"] == "not_asked"
    assert [(limit["name"], limit["refuses"]) for limit in body["limits"]] == [("minute", False), ("month", False)]
    assert body["model"] == asked.get("model")
    whole = send(operator("usage:read"), "/api/v1/explain/", key=issued.key.public_id, **asked).json()
    assert {check["check"]: check["outcome"] for check in whole["checks"]}["cost_over_burst"] == "refused"
    assert "large" in {limit["name"] for limit in whole["limits"]}
    assert whole["model"] == "lg"


def test_explain_is_complete_for_a_model_that_the_key_may_use(owner, issued):
    body = send(owner, "/api/v1/explain/", key=issued.key.public_id, path="/sm/x").json()
    assert (body["verdict"], body["model"]) == ("allowed", "sm")
    assert {check["check"]: check["outcome"] for check in body["checks"]}["over_limit"] == "passed"


def test_a_plan_shows_no_limit_for_a_model_outside_of_it(owner, with_a_limit_for_lg):
    (plan,) = owner.get("/api/v1/plans/").json()["results"]
    assert [limit["name"] for limit in plan["limits"]] == ["minute", "month"]
    of_operator = {plan["id"]: plan for plan in operator("usage:read").get("/api/v1/plans/").json()["results"]}
    assert [limit["name"] for limit in of_operator["free"]["limits"]] == ["large", "minute", "month"]


def test_a_plan_shows_a_limit_for_a_model_of_its_own(owner, catalogue, pro_account):
    catalogue(CATALOGUE.replace("limits = [{", f"limits = [{LARGE_LIMIT} {{"))
    (plan,) = member_of(pro_account, "owner", "pro").get("/api/v1/plans/").json()["results"]
    assert [limit["name"] for limit in plan["limits"]] == ["large", "second"]


def test_a_plan_shows_a_disabled_model_only_to_operators(owner, catalogue):
    catalogue(CATALOGUE.replace('title = "small"', "enabled = false"))
    assert owner.get("/api/v1/plans/").json()["results"][0]["models"] == []
    free, _ = operator("usage:read").get("/api/v1/plans/").json()["results"]
    assert free["models"] == ["sm"]


ROLES_AND_SCOPES = ("viewer", "member", "admin", "owner", "keys:read", "keys:write", "usage:read", "members:write")

READ = [
    "me/",
    "accounts/",
    "accounts/{id}/",
    "accounts/{id}/export/",
    "models/",
    "models/?account={id}",
    "plans/",
    "plans/?account={id}",
    "keys/",
    "keys/{key}/",
    "usage/?group_by=model",
    "limits/?key={key}&model=sm",
    "limits/?key={key}&model=lg",
]


@pytest.mark.parametrize("who", ROLES_AND_SCOPES)
def test_no_call_shows_a_customer_a_model_outside_of_the_plan(account, issued, pro_key, catalogue, who):
    catalogue(CATALOGUE.replace("cost = 5", 'title = "hidden giant"'))
    client = program_of(account, who) if ":" in who else member_of(account, who)
    key, id = issued.key.public_id, account.public_id
    for path in READ:
        response = client.get(f"/api/v1/{path.format(key=key, id=id)}")
        text = (response.getvalue() if response.streaming else response.content).decode()
        assert not re.search(r"\b(lg|large|hidden)\b", text), path
    explained = send(client, "/api/v1/explain/", key=key, path="/v1/large/x").content.decode()
    assert not re.search(r"\b(lg|large|hidden)\b", explained)
