"""Limits and explain: the gate's own numbers and verdicts, for the people whose key it is."""

from __future__ import annotations

import json
import logging

import pytest
from django.test import Client

from accounts.models import User
from accounts.peppers import peppers
from accounts.services.roles import set_role
from authsvc.gate.verdict import Verdict
from tests.api.test_credentials import ask_gate
from tests.conftest import ACTOR
from tests.gate.test_explain import contents

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS, EXPLAIN = "/api/v1/limits/", "/api/v1/explain/"


def post(client: Client, **body):
    return client.post(EXPLAIN, json.dumps(body), content_type="application/json")


def test_limits_are_those_of_the_gates_last_answer(of_acme, issued):
    answered = ask_gate(issued.text)
    body = of_acme.get(f"{LIMITS}?key={issued.key.public_id}&model=sm").json()
    assert body["headers"]["ratelimit-policy"] == answered["RateLimit-Policy"]
    assert [(limit["name"], limit["left"]) for limit in body["limits"]] == [("minute", 9), ("month", 999)]
    assert (body["plan"], body["cost"], body["account"]) == ("free", 1, issued.key.public_id[:8])
    minute = body["limits"][0]
    assert (minute["per"], minute["amount"], minute["burst"], minute["unit"]) == ("key", 60, 10, "requests")


def test_asking_for_limits_takes_nothing(of_acme, issued, redis_db):
    def counted():
        return {name: value for name, value in contents(redis_db).items() if "throttle" not in name}

    before = counted()
    for _ in range(3):
        assert of_acme.get(f"{LIMITS}?key={issued.key.public_id}&model=sm").status_code == 200
    assert counted() == before


def test_limits_of_other_accounts_are_404_and_an_unknown_model_gets_a_list_of_known_ones(of_acme, issued, pro_key):
    for key in (pro_key.key.public_id, "0" * 16):
        assert of_acme.get(f"{LIMITS}?key={key}&model=sm").status_code == 404
    response = of_acme.get(f"{LIMITS}?key={issued.key.public_id}&model=xl")
    assert response.status_code == 400
    assert response.json()["errors"] == [{"field": "model", "detail": "Unknown model. Known models: sm."}]
    assert of_acme.get(LIMITS).status_code == 400


def test_without_redis_limits_are_503(of_acme, issued, settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"
    response = of_acme.get(f"{LIMITS}?key={issued.key.public_id}&model=sm")
    assert (response.status_code, response["Retry-After"]) == (503, "1")


def test_an_owner_can_have_a_decision_explained(owner, issued, redis_db):
    body = post(owner, key=issued.key.public_id, model="lg").json()
    assert (body["verdict"], body["status"], body["key"]) == ("model_not_allowed", 403, issued.key.public_id)
    outcomes = {check["check"]: check["outcome"] for check in body["checks"]}
    assert outcomes["model_not_allowed"] == "refused"
    assert outcomes["revoked_key"] == "passed"
    assert {limit["name"]: limit["left"] for limit in body["limits"]} == {"minute": 10, "month": 1000}


def test_a_string_is_explained_but_neither_repeated_nor_logged(owner, issued, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    secret = issued.text[22:]
    for text in (issued.text, issued.text[:-3], issued.text + "," + issued.text):
        response = post(owner, string=text, model="sm")
        assert response.status_code == 200
        assert secret[:20] not in response.content.decode()
    assert post(owner, string=issued.text, key=issued.key.public_id, model="sm").status_code == 400
    assert post(owner, string=[issued.text], model="sm").status_code == 400
    assert secret[:20] not in caplog.text + "".join(capfd.readouterr())


def test_another_accounts_key_is_404_like_one_that_does_not_exist(owner, operator_program, issued, pro_key):
    from accounts.keys import new_key

    unknown = new_key("Z" * 16, "ask", peppers()[0]).text
    for body in ({"key": pro_key.key.public_id}, {"key": "Z" * 16}, {"string": pro_key.text}, {"string": unknown}):
        assert post(owner, **body, model="sm").status_code == 404
    assert post(operator_program, string=pro_key.text, model="sm").json()["verdict"] == "allowed"
    assert post(operator_program, string=unknown, model="sm").json()["verdict"] == Verdict.UNKNOWN_KEY.word


def test_only_owners_and_operators_may_have_decisions_explained(owner, of_acme, account, issued):
    user = User.objects.get(username="olga")
    for role in ("admin", "member", "viewer"):
        set_role(account, user, role, actor=ACTOR)
        assert post(owner, key=issued.key.public_id, model="sm").status_code == 403
        assert post(owner, string=issued.text, model="sm").status_code == 403
    assert post(of_acme, key=issued.key.public_id, model="sm").status_code == 403


@pytest.mark.parametrize(
    "body", [{}, {"model": "sm"}, {"key": "0" * 16}, {"string": "x"}, {"string": "x", "model": "sm", "x": 1}]
)
def test_an_incomplete_request_is_refused(owner, catalogue, body):
    assert post(owner, **body).status_code == 400


def test_the_number_of_queries_does_not_reveal_whose_key_it_is(owner, pro_key, django_assert_num_queries):
    post(owner, key="Z" * 16, model="sm")
    for key in (pro_key.key.public_id, "Z" * 16):
        with django_assert_num_queries(3):  # session, person, key
            post(owner, key=key, model="sm")
