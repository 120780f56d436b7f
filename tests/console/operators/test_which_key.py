"""Which key is this? What a pasted text proves, what it leaves behind, and that the key can be revoked there and then."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, AuditEvent, ManagementKey
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.keys import issue_key, revoke_key, rotate_key
from console.operators.which_key import LONGEST, MOST, keys_in
from tests.conftest import ACTOR, import_one
from tests.console.operators.test_front import words
from tests.gate.conftest import question

pytestmark = pytest.mark.django_db

WORKS = "This secret works"
ENDED = "It is refused now"
OTHER = "the secret is not"
ONLY_ID = "Only the id was pasted"
NOTHING = "No key of this service is in the text"


def paste(client: Client, text: str):
    return client.post("/admin/which-key/", {"text": text})


@pytest.mark.parametrize(
    "text", ["{}", " {}\n", "curl -H 'Authorization: Bearer {}' https://api.example/sm", "key={};x"]
)
def test_a_key_is_found_wherever_it_is_in_the_text(operator, issued, text):
    page = words(paste(operator, text.format(issued.text)))
    assert issued.key.name in page and "acme" in page and WORKS in page


def test_what_was_pasted_is_kept_and_shown_nowhere(operator, issued, caplog):
    caplog.set_level(logging.DEBUG)
    before = AuditEvent.objects.count()
    response = paste(operator, issued.text)
    assert issued.text not in response.content.decode() + caplog.text + str(response.headers)
    assert all(issued.text not in str(session.get_decoded()) for session in Session.objects.all())
    assert "no-store" in response["Cache-Control"] and AuditEvent.objects.count() == before


def test_a_key_that_is_revoked_or_was_replaced_is_told_apart(operator, account):
    gone, rotated = issue_key(account, name="gone", actor=ACTOR), issue_key(account, name="rotated", actor=ACTOR)
    revoke_key(gone.key, actor=ACTOR)
    rotate_key(rotated.key, grace=timedelta(0), actor=ACTOR)
    assert ENDED in words(paste(operator, gone.text)) and "Revoked" in words(paste(operator, gone.text))
    assert ENDED in words(paste(operator, rotated.text)) or OTHER in words(paste(operator, rotated.text))
    assert WORKS not in words(paste(operator, rotated.text))


def test_an_old_secret_works_in_its_grace(operator, account):
    issued = issue_key(account, name="rotating", actor=ACTOR)
    rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    assert WORKS in words(paste(operator, issued.text))


def test_a_made_up_secret_and_a_bare_id_prove_nothing(operator, issued):
    made_up = re.sub(r"_[^_]*\Z", "_" + "x" * 44, issued.text)
    assert OTHER in words(paste(operator, made_up)) and OTHER in words(paste(operator, issued.text[:-3]))
    assert ONLY_ID in words(paste(operator, f"key {issued.key.public_id} was refused"))


def test_an_imported_key_is_found_by_its_digest(operator, account, settings):
    settings.IMPORTED_KEYS = True
    import_one(account, "a-key-of-another-system-0001")
    assert WORKS in words(paste(operator, " a-key-of-another-system-0001 "))
    assert NOTHING in words(paste(operator, "a-key-of-another-system-0002"))


def test_management_keys_and_operator_tokens_are_found_too(operator, account):
    _, key = make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    _, token = make_operator_token(name="billing", scopes=["usage:read"], actor=ACTOR)
    page = words(paste(operator, f"{key} {token}"))
    assert "Management key" in page and "Operator token" in page and page.count(WORKS) == 2


@pytest.mark.parametrize("text", ["", "nothing", "x" * (LONGEST + 1), "ask_" + "0" * 16 + "_" + "0" * 44, "\u3164"])
def test_a_text_without_a_key_says_so(operator, account, text):
    response = paste(operator, text)
    assert response.status_code == 200
    assert NOTHING in words(response) or response.context["fault"]


def test_a_text_full_of_keys_costs_a_bounded_number_of_queries(operator, account, django_assert_max_num_queries):
    texts = [issue_key(account, name=f"k{number}", actor=ACTOR).text for number in range(MOST + 5)]
    with django_assert_max_num_queries(15):
        response = paste(operator, "\n".join(texts))
    assert len(response.context["found"]) == MOST


def test_who_may_not_see_keys_may_not_ask(staff, issued):
    assert paste(staff("view_account"), issued.text).status_code == 403
    assert paste(Client(), issued.text).status_code == 302


def test_who_may_only_look_is_offered_no_revocation(staff, issued):
    response = paste(staff("view_apikey"), issued.text)
    assert WORKS in words(response) and "Revoke it" not in words(response)


def test_staff_who_may_not_see_tokens_find_none(staff, account):
    _, token = make_operator_token(name="billing", scopes=["usage:read"], actor=ACTOR)
    assert NOTHING in words(paste(staff("view_apikey"), token))


@pytest.mark.django_db(transaction=True)
def test_a_pasted_key_that_is_revoked_is_refused_from_the_next_request_on(operator, issued):
    def asked() -> int:
        return Client().get("/auth/", headers=dict(question(issued.text, x_forwarded_uri="/sm/"))).status_code

    assert asked() == 200
    (revoke,) = [one.revoke for one in paste(operator, issued.text).context["found"]]
    operator.post(revoke)
    assert asked() == 401
    assert ApiKey.objects.get().state == "revoked"
    assert AuditEvent.objects.values_list("act", flat=True).first() == "key.revoke"


def test_a_pasted_management_key_can_be_revoked(operator, account):
    _, text = make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    (found,) = paste(operator, text).context["found"]
    operator.post(found.revoke)
    assert ManagementKey.objects.get().revoked_at


def test_a_text_that_only_ends_like_a_key_proves_nothing(issued):
    (match,) = keys_in(f"x{issued.text}", timezone.now())
    assert match.row == issued.key and not match.works
