"""What the operator wrote about models and plans for customers."""

from __future__ import annotations

import pytest

from tests.api.callers import member_of, operator
from tests.conftest import CATALOGUE

pytestmark = pytest.mark.django_db(transaction=True)

TOLD = """title = "small"
speaks = "openai"
example = {path = "/ner", body = {text = "Ada"}, answer = "PERSON"}
"""


@pytest.mark.parametrize("who", ["customer", "operator"])
def test_a_model_has_its_example_and_what_it_speaks(account, catalogue, who):
    catalogue(CATALOGUE.replace('title = "small"', TOLD))
    client = member_of(account, "viewer") if who == "customer" else operator("usage:read")
    shown = {model["id"]: model for model in client.get("/api/v1/models/").json()["results"]}
    example = {"method": "POST", "path": "/ner", "body": {"text": "Ada"}, "answer": "PERSON"}
    assert (shown["sm"]["speaks"], shown["sm"]["example"]) == ("openai", example)
    if who == "operator":
        assert (shown["lg"]["speaks"], shown["lg"]["example"]) == ("", None)


def test_a_plan_says_whether_it_is_offered(account, catalogue):
    client = operator("usage:read")
    shown = {plan["id"]: plan["offered"] for plan in client.get("/api/v1/plans/").json()["results"]}
    assert shown == {"free": False, "pro": False}
    catalogue(CATALOGUE.replace("[plans.pro]", "[plans.pro]\noffered = true"))
    shown = {plan["id"]: plan["offered"] for plan in client.get("/api/v1/plans/").json()["results"]}
    assert shown == {"free": False, "pro": True}
