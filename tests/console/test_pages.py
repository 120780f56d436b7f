"""The pages that a problem's `type` links to, and where people land after signing in."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client

from accounts.models import User
from api.base.problems import WORDS
from authsvc.gate.verdict import Verdict
from console.meanings import MEANINGS, MEANINGS_OF_API
from console.pages import ADVICE

CODES = sorted({verdict.code for verdict in Verdict if verdict.code})


@pytest.mark.parametrize("code", [*CODES, *WORDS])
def test_every_public_code_has_a_page(code):
    page = Client().get(f"/errors/{code}")
    assert page.status_code == 200
    assert code in page.content.decode()


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict.code])
def test_the_page_of_a_code_shows_the_gates_own_answer(verdict, settings):
    page = unescape(Client().get(f"/errors/{verdict.code}").content.decode())
    status = settings.OVER_LIMIT_STATUS if verdict is Verdict.OVER_LIMIT else verdict.status
    assert f"HTTP/1.1 {status} " in page and f'"detail": "{verdict.detail}"' in page
    assert f'"type": "{settings.ERRORS_URL}{verdict.code}"' in page and "application/problem+json" in page


def test_an_example_has_the_headers_that_matter():
    over, foreign = (
        unescape(Client().get(f"/errors/{code}").content.decode()) for code in ("quota_exceeded", "no_key")
    )
    assert 'Ratelimit: "minute";r=0;t=10' in over and "Retry-After: 1" in over and '"violated-policies"' in over
    assert 'Www-Authenticate: Bearer realm="' in foreign
    scope = unescape(Client().get("/errors/insufficient_scope").content.decode())
    assert 'scope="model:en_core_web_sm"' in scope


@pytest.mark.parametrize("word", WORDS)
def test_the_page_of_an_api_word_shows_a_problem_of_the_api(word, settings):
    page = unescape(Client().get(f"/errors/{word}").content.decode())
    status, advice = WORDS[word]
    assert (
        f"HTTP/1.1 {status.value} " in page and f'"type": "{settings.ERRORS_URL}{word}"' in page and str(advice) in page
    )


def test_no_example_needs_the_database_or_redis(redis_away):
    with redis_away():
        assert Client().get("/errors/quota_exceeded").status_code == 200


def test_the_api_and_the_gate_share_no_problem_code():
    assert not set(WORDS) & set(CODES)


def test_there_is_advice_for_exactly_the_existing_codes():
    assert sorted(ADVICE) == sorted(MEANINGS) == CODES
    assert sorted(MEANINGS_OF_API) == sorted(WORDS)


@pytest.mark.parametrize("code", ["nothing", "allowed", "x" * 200])
def test_no_other_code_has_a_page(code):
    assert Client().get(f"/errors/{code}").status_code == 404


@pytest.mark.django_db
def test_a_member_signs_in_and_reaches_the_api():
    User.objects.create_user("mia", password="a long password")
    client = Client()
    assert client.get("/api/v1/keys/").status_code == 401
    assert "csrfmiddlewaretoken" in client.get("/login/").content.decode()
    signed_in = client.post("/login/", {"username": "mia", "password": "a long password"})
    assert (signed_in.status_code, signed_in["Location"]) == (302, "/console/")
    assert client.get("/api/v1/keys/").status_code == 200


@pytest.mark.django_db
def test_signing_in_never_redirects_to_another_host():
    User.objects.create_user("mia", password="a long password")
    signed_in = Client().post(
        "/login/", {"username": "mia", "password": "a long password", "next": "https://evil.example/"}
    )
    assert signed_in["Location"] == "/console/"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/console/"])
def test_an_operator_without_an_account_lands_in_the_admin(path):
    client = Client()
    client.force_login(User.objects.create_user("mia", is_staff=True))
    assert client.get(path, follow=True).redirect_chain[-1][0] == "/admin/"


@pytest.mark.django_db
def test_a_stranger_at_the_root_is_led_to_the_sign_in():
    assert Client().get("/", follow=True).redirect_chain[-1][0] == "/login/?next=/console/"
