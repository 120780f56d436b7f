"""Operator tokens and management keys in the admin."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, ManagementKey, OperatorToken, User
from accounts.services.credentials import make_operator_token
from tests.accounts.forms import complaints, send
from tests.conftest import ACTOR

TOKEN = re.compile(r"ask_(?:mgmt|oper)_[0-9A-Za-z]{16}_[0-9A-Za-z]{44}")
MAKE_TOKEN = "/admin/accounts/operatortoken/add/"
MAKE_KEY = "/admin/accounts/managementkey/add/"


def signed_in(**rights):
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(User.objects.create_user("olga", is_staff=True, **rights))
    return client


def ask(text, path):
    return Client(headers={"Authorization": f"Bearer {text}"}).get(path).status_code


def test_an_operator_token_is_shown_once_and_works_with_the_api(operator, account):
    page = send(operator, MAKE_TOKEN, name="billing", scopes=["accounts:write"])
    (text,) = TOKEN.findall(page.content.decode())
    assert "no-store" in page["Cache-Control"] and ask(text, "/api/v1/accounts/") == 200
    row = OperatorToken.objects.get()
    assert text not in operator.get(reverse("admin:accounts_operatortoken_change", args=[row.pk])).content.decode()
    event = AuditEvent.objects.get(act="operator_token.issue")
    assert (event.actor, event.subject, event.address) == ("olga", row.public_id, "192.0.2.7")


def test_a_management_key_is_created_for_an_account(operator, account):
    page = send(operator, MAKE_KEY, account=account.pk, name="ci", scopes=["keys:read", "usage:read"])
    (text,) = TOKEN.findall(page.content.decode())
    assert ask(text, "/api/v1/keys/") == 200 and ManagementKey.objects.get().scopes == ["keys:read", "usage:read"]


@pytest.mark.parametrize(
    ("filled", "complaint"),
    [({"scopes": None}, "required"), ({"name": ""}, "required"), ({"expires_at": "2001-01-01"}, "passed")],
)
def test_an_invalid_credential_is_refused(operator, filled, complaint):
    page = send(operator, MAKE_TOKEN, **{"name": "k", "scopes": ["usage:read"], **filled})
    assert complaint in " ".join(complaints(page)) and not OperatorToken.objects.exists()


def test_a_token_revoked_in_the_admin_is_refused_at_once(operator, db):
    row, text = make_operator_token(name="billing", scopes=["accounts:write"], actor=ACTOR)
    page = reverse("admin:accounts_operatortoken_change", args=[row.pk])
    assert "../revoke/" in operator.get(page).content.decode()
    operator.post(reverse("admin:accounts_operatortoken_revoke", args=[row.pk]))
    assert ask(text, "/api/v1/accounts/") == 401 and "../revoke/" not in operator.get(page).content.decode()


def test_staff_can_neither_create_nor_revoke_operator_tokens(db):
    clerk = signed_in()
    row, _ = make_operator_token(name="billing", scopes=["accounts:write"], actor=ACTOR)
    assert clerk.post(MAKE_TOKEN, {"name": "k", "scopes": ["keys:write"]}).status_code == 403
    assert clerk.post(reverse("admin:accounts_operatortoken_revoke", args=[row.pk])).status_code == 403
    assert OperatorToken.objects.filter(revoked_at=None).count() == 1


@pytest.mark.parametrize("model", ["managementkey", "operatortoken"])
def test_no_list_tells_digests_by_filtering(operator, account, model):
    address = f"/admin/accounts/{model}/"
    assert operator.get(address, {"name__startswith": "x"}).status_code == 200
    assert operator.get(address, {"digest__startswith": "0"}).status_code == 400
