"""The pages that a problem's `type` links to, and where people land after signing in."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User
from api.base.problems import WORDS
from authsvc.gate.verdict import Verdict
from console.pages import ADVICE

CODES = sorted({verdict.code for verdict in Verdict if verdict.code})


@pytest.mark.parametrize("code", [*CODES, *WORDS])
def test_every_public_code_has_a_page(code):
    page = Client().get(f"/errors/{code}")
    assert page.status_code == 200
    assert code in page.content.decode()


def test_the_api_and_the_gate_share_no_problem_code():
    assert not set(WORDS) & set(CODES)


def test_there_is_advice_for_exactly_the_existing_codes():
    assert sorted(ADVICE) == CODES


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
