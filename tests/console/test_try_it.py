"""Try it, and the calls that are ready to copy."""

from __future__ import annotations

import json
import re
import shlex
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiKey, KeySecret
from accounts.services.accounts import close_account
from accounts.services.catalogue import change_catalogue
from console.keys.calls import ready_calls
from console.trying.pages import gateway_source
from quotas.models import ServedModel
from tests.conftest import ACTOR
from tests.console.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)


def address(account, rest: str = "") -> str:
    return f"/console/{account.public_id}/try/{rest}"


def model(slug: str = "sm", **fields) -> ServedModel:
    """A model after a change of its row."""

    def edit():
        row = ServedModel.objects.get(slug=slug)
        for name, value in fields.items():
            setattr(row, name, value)
        row.save()
        yield f"model {slug}"

    change_catalogue(edit, actor=ACTOR)
    return ServedModel.objects.get(slug=slug)


# The page


def test_the_page_starts_from_the_models_example(account, owner, settings):
    model(example={"path": "/ner", "body": {"text": "Ada <b>"}})
    page = owner.get(address(account), {"model": "sm"}).content.decode()
    assert 'value="/ner"' in page and "Ada &lt;b&gt;" in page and "<option selected>POST</option>" in page
    assert f"{settings.GATEWAY_URL}/sm" in page


def test_without_an_example_it_starts_at_the_models_root(account, owner):
    page = owner.get(address(account), {"model": "sm"}).content.decode()
    assert 'id="try-path" value="/"' in page and "<option selected>GET</option>" in page


def test_only_this_page_may_connect_to_the_gateway(account, owner, settings):
    policy = owner.get(address(account))["Content-Security-Policy"]
    assert f"connect-src 'self' {gateway_source(settings.GATEWAY_URL)};" in f"{policy};"
    others = owner.get(f"/console/{account.public_id}/models/")["Content-Security-Policy"]
    assert re.search(r"connect-src 'self'(;|$)", others)


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://example.com/models", "https://example.com/models/"),
    ],
)
def test_the_policy_names_the_gateways_address_and_no_more(url, source):
    assert gateway_source(url) == source


def test_no_field_of_the_page_could_send_a_pasted_key_to_us(account, owner):
    page = owner.get(address(account)).content.decode()
    (field,) = re.findall(r'<input[^>]*id="try-key"[^>]*>', page)
    assert "name=" not in field and 'autocomplete="off"' in field
    around = page[: page.index(field)]
    assert around.count("<form") == around.count("</form>")  # it is inside no form


def test_a_model_outside_the_plan_is_not_offered(account, owner):
    page = owner.get(address(account), {"model": "lg"}).content.decode()
    assert 'value="lg"' not in page and 'data-model="lg"' not in page


# A key made for it


def form(client, account) -> dict[str, str]:
    page = client.get(address(account)).content.decode()
    (key_id,) = re.findall(r'name="key_id" value="(\w+)"', page)
    return {"key_id": key_id, "model": "sm"}


def test_a_key_made_for_the_page_works_for_an_hour_and_one_model(account, owner):
    sent = form(owner, account)
    answer = owner.post(address(account, "key/"), sent)
    (secret,) = re.findall(r'id="try-key" value="(ask_\w+)"', answer.content.decode())
    key = ApiKey.objects.get()
    assert answer.status_code == 201 and "no-store" in answer["Cache-Control"]
    assert (key.narrowed_to, key.created_by) == (["sm"], owner.user) and key.name.startswith("Try it: sm, ")
    assert key.expires_at is not None
    assert timedelta(minutes=58) < key.expires_at - timezone.now() <= timedelta(hours=1)
    assert secret.startswith(KeySecret.objects.get().start)
    assert secret not in owner.get(address(account)).content.decode()


def test_sending_the_form_twice_makes_one_key_and_shows_no_secret_again(account, owner):
    sent = form(owner, account)
    owner.post(address(account, "key/"), sent)
    again = owner.post(address(account, "key/"), sent)
    assert again.status_code == 409 and "already been issued" in again.content.decode()
    assert 'id="try-key" value=""' in again.content.decode() and ApiKey.objects.count() == 1


@pytest.mark.parametrize("sent", [{}, {"key_id": "short", "model": "sm"}, {"key_id": "aaaaaaaa", "model": "lg"}])
def test_an_incomplete_form_makes_no_key(account, owner, sent):
    answer = owner.post(address(account, "key/"), sent)
    assert answer.status_code == 409 and "Reload the page" in answer.content.decode() and not ApiKey.objects.exists()


def test_a_viewer_may_paste_a_key_but_not_make_one(account):
    viewer = person("vera", account, "viewer")
    page = viewer.get(address(account)).content.decode()
    assert 'id="try-key"' in page and "key_id" not in page
    assert viewer.post(address(account, "key/"), {"key_id": "aaaaaaaa", "model": "sm"}).status_code == 403


def test_a_closed_account_gets_no_key(account, owner):
    sent = form(owner, account)
    close_account(account, actor=ACTOR)
    assert owner.post(address(account, "key/"), sent).status_code == 409 and not ApiKey.objects.exists()


# Ready calls


def calls(row: ServedModel, **wanted) -> dict[str, str]:
    return {call.language: call.text for call in ready_calls(row, "KEY", **wanted)}


def test_ready_calls_send_the_example(account, settings):
    row = model(example={"path": "/ner", "body": {"text": "It's “Ada”", "deep": True}})
    ready = calls(row)
    words = shlex.split(ready["curl"].replace("\\\n", ""))
    assert words[:4] == ["curl", "-X", "POST", f"{settings.GATEWAY_URL}/sm/ner"]
    assert json.loads(words[-1]) == {"text": "It's “Ada”", "deep": True}  # PostgreSQL sorts the names
    assert "'deep': True" in ready["Python"] and '"deep": true' in ready["JavaScript"] and "openai" not in ready
    compile(ready["Python"], "ready", "exec")


def test_text_is_sent_as_text(account):
    ready = calls(model(example={"path": "/count", "body": "one two"}))
    assert "text/plain" in ready["curl"] and "data='one two'.encode()" in ready["Python"]
    assert 'body: "one two"' in ready["JavaScript"]


def test_a_key_that_may_not_send_the_example_gets_a_call_that_it_may(account):
    row = model(example={"path": "/ner", "body": {"text": "Ada"}})
    assert "/sm/ner" not in calls(row, methods=["GET"])["curl"]
    assert "/sm/ner" in calls(row, methods=["POST"])["curl"]


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/v1/chat/completions", "client.chat.completions.create("),
        ("/v1/embeddings", "client.embeddings.create("),
        ("/v1/completions", "client.completions.create("),
        ("/v1/responses", "client.responses.create("),
    ],
)
def test_a_model_that_speaks_openai_gets_a_call_with_that_package(account, settings, path, call):
    body = {"input": "x", "stream": True}
    ready = calls(model(speaks="openai", example={"path": path, "body": body}))["openai"]
    assert call in ready and f'base_url="{settings.GATEWAY_URL}/sm/v1"' in ready and "model='sm'" in ready
    assert "stream" not in ready  # the shown code prints one answer
    compile(ready, "ready", "exec")


def test_a_model_that_does_not_speak_it_gets_none(account):
    example = {"path": "/v1/chat/completions", "body": {"messages": []}}
    assert "openai" not in calls(model(example=example))
    assert "openai" not in calls(model(speaks="openai", example={"path": "/v1/models"}))
    assert "openai" not in calls(model(speaks="openai"))


def test_the_models_page_shows_the_answer_of_the_example(account, owner):
    model(example={"path": "/ner", "body": {"text": "Ada"}, "answer": {"entities": ["<Ada>"]}})
    page = owner.get(f"/console/{account.public_id}/models/", {"model": "sm"}).content.decode()
    assert "Its answer" in page and "&lt;Ada&gt;" in page and f'href="{address(account)}?model=sm"' in page
