"""Every form and action of the admin that the gate should know of, and what the next request gets."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, ApiKey
from accounts.services.accounts import close_account, suspend_account
from accounts.services.keys import pause_key
from quotas.models import Plan, ServedModel
from tests.accounts.admin.test_admin import list_of, page_of
from tests.accounts.forms import send
from tests.conftest import ACTOR
from tests.gate.conftest import question

pytestmark = pytest.mark.django_db(transaction=True)


def asked(text: str, uri: str = "/sm/") -> int:
    return Client().get("/auth/", headers=dict(question(text, x_forwarded_uri=uri))).status_code


def of_key(act: str, **filled):
    return lambda operator, key: send(operator, page_of(key, act), **filled)


def of_account(act: str, **filled):
    return lambda operator, key: send(operator, page_of(Account.objects.get(pk=key.account_id), act), **filled)


def to_the_larger_plan(operator, key):
    of_account("plan", plan=Plan.objects.get(name="pro").pk)(operator, key)


def of_model(**filled):
    return lambda operator, key: send(operator, page_of(ServedModel.objects.get(slug="sm")), **filled)


def of_plan(**filled):
    return lambda operator, key: send(operator, page_of(Plan.objects.get(name="free")), **filled)


def selected(operator, key):
    operator.post(list_of(ApiKey), {"action": "revoke_selected", "_selected_action": [key.pk], "confirmed": "1"})


def only_the_large_model(operator, key):
    of_plan(served_models=[ServedModel.objects.get(slug="lg").pk])(operator, key)


def pasted(operator, key):
    operator.post(reverse("admin:accounts_apikey_revoke", args=[key.pk]))


REFUSING = {
    "revoke": (of_key("revoke"), 401),
    "revoke what was selected": (selected, 401),
    "revoke what was pasted": (pasted, 401),
    "pause": (of_key("pause"), 401),
    "rotate without grace": (of_key("rotate", grace=0), 401),
    "other networks": (of_key("change", networks="192.0.2.0/24"), 403),
    "other methods": (of_key("change", methods=["DELETE"]), 403),
    "other models": (of_key("change", models=["lg"]), 403),
    "suspend": (of_account("suspend"), 403),
    "close": (of_account("close"), 403),
    "disable the model": (of_model(enabled=None), 403),
    "move the model": (of_model(path="/elsewhere"), 403),
    "take the model out of the plan": (only_the_large_model, 403),
}


@pytest.mark.parametrize("name", REFUSING)
def test_what_the_admin_takes_away_is_refused_from_the_next_request_on(operator, issued, name):
    act, status = REFUSING[name]
    assert asked(issued.text) == 200
    act(operator, issued.key)
    assert asked(issued.text) == status


ALLOWING = {
    "resume a key": (lambda key: pause_key(key, actor=ACTOR), of_key("resume"), "/sm/"),
    "resume an account": (lambda key: suspend_account(key.account, actor=ACTOR), of_account("resume"), "/sm/"),
    "reopen an account": (lambda key: close_account(key.account, actor=ACTOR), of_account("reopen"), "/sm/"),
    "a larger plan": (lambda key: None, to_the_larger_plan, "/v1/large"),
}


@pytest.mark.parametrize("name", ALLOWING)
def test_what_the_admin_gives_is_let_in_from_the_next_request_on(operator, issued, name):
    before, act, uri = ALLOWING[name]
    before(issued.key)
    assert asked(issued.text, uri) in (401, 403)
    act(operator, ApiKey.objects.get())
    assert asked(issued.text, uri) == 200


def test_a_narrower_limit_of_the_plan_holds_at_once(operator, issued):
    assert asked(issued.text) == 200
    row = send(operator, page_of(Plan.objects.get(name="free")), **{"limits-0-amount": 1, "limits-0-burst": 1})
    assert row.status_code == 302
    assert 429 in (asked(issued.text), asked(issued.text))  # what was used before may have drained by now


def test_an_amount_of_its_own_holds_at_once(operator, issued, account):
    assert asked(issued.text) == 200
    own = {"overrides-TOTAL_FORMS": 1, "overrides-0-limit_name": "month", "overrides-0-amount": 1}
    send(operator, page_of(account), **own)
    assert asked(issued.text) == 429
