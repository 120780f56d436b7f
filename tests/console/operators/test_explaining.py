"""Explain as a page: the gate's own verdict, and no secret in what is sent back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client

from accounts.services.keys import change_key, revoke_key
from authsvc.gate.decision import RULES
from console.operators import explaining
from console.operators.explaining import CHECKS
from store.throttles import EXPLANATIONS
from tests.conftest import ACTOR
from tests.console.operators.test_front import words

pytestmark = pytest.mark.django_db(transaction=True)


def asked(client: Client, key: str, **more: str):
    filled = {"key": key, "model": "sm", "method": "POST", "address": "127.0.0.1", **more}
    return client.post("/admin/explain/", filled)


def test_a_call_that_would_be_let_in(operator, issued):
    page = words(asked(operator, issued.key.public_id))
    assert "It would be let in 200 allowed" in page
    assert "60 calls a minute, bursts of 10 10 left" in page


def test_a_call_that_would_be_refused_and_which_check_does_it(operator, issued):
    revoke_key(issued.key, actor=ACTOR)
    response = asked(operator, issued.key.public_id)
    assert "It would be refused 401 revoked_key" in words(response)
    assert [check.name for _, check in response.context["checks"] if check.outcome == "refused"] == ["revoked_key"]


def test_method_and_address_count(operator, issued):
    change_key(issued.key, methods=["GET"], networks=["192.0.2.0/24"], actor=ACTOR)
    assert "403 method_not_allowed" in words(asked(operator, issued.key.public_id, address="192.0.2.1"))
    assert "200 allowed" in words(asked(operator, issued.key.public_id, address="192.0.2.1", method="GET"))


def test_a_pasted_key_is_explained_and_not_sent_back(operator, issued):
    response = asked(operator, issued.text)
    assert "It would be let in" in words(response) and issued.text not in response.content.decode()


def test_the_question_is_named_by_a_link_and_answered_on_request(operator, issued):
    page = operator.get(f"/admin/explain/?key={issued.key.public_id}&model=sm").content.decode()
    assert f'value="{issued.key.public_id}"' in page and '<option value="sm" selected>' in page
    assert "It would be" not in page


def test_a_question_that_cannot_be_asked_says_why(operator, issued):
    assert "Choose a model, enter a path, or both." in words(asked(operator, issued.key.public_id, model=""))
    assert "It would be refused 401 unknown_key" in words(asked(operator, "0" * 16))


def test_explanations_are_throttled(operator, issued, monkeypatch):
    monkeypatch.setattr(explaining, "EXPLANATIONS", replace(EXPLANATIONS, calls=1, seconds=3600))
    assert "It would be let in" in words(asked(operator, issued.key.public_id))
    assert "Too many explanations" in words(asked(operator, issued.key.public_id))


def test_who_may_not_see_keys_and_usage_may_not_ask(staff, issued):
    assert asked(staff("view_apikey"), issued.key.public_id).status_code == 403
    assert asked(staff("view_apikey", "view_usagehour"), issued.key.public_id).status_code == 200


def test_every_rule_of_the_gate_has_words():
    assert {rule.verdict.word for rule in RULES} <= set(CHECKS)


def test_without_redis_it_cannot_be_told(operator, issued, redis_away):
    with redis_away():
        assert "It would be refused 503 cannot_decide" in words(asked(operator, issued.key.public_id))
