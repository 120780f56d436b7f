"""Signing in by an identity provider: a real process, discovery, code flow with PKCE and nonce, signatures by its keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.test import Client

from accounts.models import Account, Membership, User
from accounts.services.accounts import AccountEdit, change_account
from console.signing.oidc import Adapter, nonce_of
from tests.conftest import ACTOR
from tests.console.signing.people import HERE, PASSWORD, acts, home, is_signed_in, mia, sign_in
from tests.console.signing.provider import CLIENT, SECRET
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

OLGA: dict[str, Any] = {"sub": "u-1", "email": "olga@example.org", "email_verified": True, "name": "Olga Example"}
FAULTS = (
    "nonce",
    "audience",
    "expired",
    "signature",
    "unsigned",
    "unknown key",
    "no id token",
    "userinfo",
    "denied",
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.console.signing.provider"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def be(address, settings):
    """Tell the provider whom it signs in, and how it errs."""
    settings.OIDC_ISSUER, settings.OIDC_NAME = address, "Example SSO"
    app: dict[str, Any] = {"provider_id": "sso", "name": "Example SSO", "client_id": CLIENT, "secret": SECRET}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [{**app, "settings": {"server_url": address}}]}}

    def be(fault: str = "", **who: Any) -> None:
        requests.post(f"{address}/be", json={"who": OLGA | who, "fault": fault}, timeout=10)

    be()
    return be


def come_in(client: Client, **query: str) -> Any:
    """From the button to the provider and back, as a browser goes."""
    away = client.get("/accounts/oidc/login/", query)
    assert away.status_code == 302, away.content.decode()
    back = requests.get(away["Location"], allow_redirects=False, timeout=10)
    assert back.status_code == 302, back.text
    url = urlsplit(back.headers["Location"])
    assert url.path == "/accounts/oidc/callback/"
    return client.get(f"{url.path}?{url.query}")


def test_the_button_is_there_only_where_there_is_a_provider(be, settings):
    assert "Sign in with Example SSO" in Client().get("/login/").content.decode()
    settings.OIDC_ISSUER = ""
    assert "Example SSO" not in Client().get("/login/").content.decode()
    assert Client().get("/accounts/oidc/login/").status_code == 404


def test_somebody_new_gets_a_user_and_an_account_of_their_own(catalogue, be, address):
    client = Client(**HERE)
    assert come_in(client)["Location"] == home()
    assert is_signed_in(client)
    olga = User.objects.get()
    assert (olga.username, olga.email, olga.first_name) == ("olga@example.org", "olga@example.org", "Olga")
    assert not olga.has_usable_password() and not olga.is_staff
    member = Membership.objects.get()
    assert (member.user, member.role, member.account.plan.name) == (olga, "owner", "free")
    assert EmailAddress.objects.get().verified
    assert not SocialToken.objects.exists()  # no token of the provider is kept
    assert [row.act for row in acts() if row.act.startswith("user.")] == ["user.sign_up", "user.sign_in"]
    asked = requests.get(f"{address}/asked", timeout=10).json()["asked"][-1]
    assert len(asked["nonce"]) == 64 and asked["code_challenge_method"] == "S256"


def test_the_second_time_it_is_the_same_user(catalogue, be):
    come_in(Client())
    be(email="olga@moved.example")
    come_in(client := Client())
    assert is_signed_in(client) and User.objects.count() == Account.objects.count() == 1


@pytest.mark.parametrize(("role", "given"), [("admin", "admin"), ("viewer", "viewer"), ("none", None)])
def test_the_role_is_what_the_operator_says(account, be, settings, role, given):
    settings.OIDC_ROLE, settings.OIDC_ACCOUNT = role, "acme"
    come_in(Client())
    assert Membership.objects.filter(account=account).values_list("role", flat=True).first() == given
    assert Account.objects.count() == 1


def test_nobody_joins_an_account_that_is_closed(account, be, settings):
    settings.OIDC_ROLE, settings.OIDC_ACCOUNT = "member", "acme"
    change_account(account, AccountEdit(status="closed"), actor=ACTOR)
    come_in(client := Client())
    assert is_signed_in(client) and not Membership.objects.exists()


def test_who_has_a_user_with_that_address_comes_in_as_this_user(be):
    user = mia()
    EmailAddress.objects.create(user=user, email="mia@example.org", verified=True, primary=True)
    be(email="Mia@Example.org")
    come_in(client := Client())
    assert client.session["_auth_user_id"] == str(user.pk) and User.objects.count() == 1
    assert sign_in(Client()).status_code == 302  # by the password, too


def test_a_password_set_by_somebody_who_never_confirmed_the_address_is_wiped(be):
    user = mia()
    be(email="mia@example.org")
    come_in(client := Client())
    assert client.session["_auth_user_id"] == str(user.pk)
    user.refresh_from_db()
    assert not user.check_password(PASSWORD)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_forged_or_failed_answer_lets_nobody_in(be, fault):
    be(fault)
    client = Client(**HERE)
    answer = come_in(client)
    assert answer.status_code == 403 and "not let in" in answer.content.decode()
    assert not is_signed_in(client) and not User.objects.exists() and not SocialAccount.objects.exists()
    (row,) = acts()
    assert (row.act, row.address) == ("user.sign_in_failed", "203.0.113.7")


def test_a_provider_that_calls_itself_something_else_is_not_asked(be):
    be("issuer")
    for _ in range(2):  # nor is what it said kept for the next one
        answer = Client().get("/accounts/oidc/login/")
        assert answer.status_code == 503 and "does not answer" in answer.content.decode()


def test_a_provider_is_asked_for_its_configuration_once_for_many(be, monkeypatch):
    asked, ask = [], Adapter._ask_for_configuration

    def count(self):
        asked.append(self)
        return ask(self)

    monkeypatch.setattr(Adapter, "_ask_for_configuration", count)
    assert {Client().get("/accounts/oidc/login/").status_code for _ in range(3)} == {302} and len(asked) == 1


def test_a_provider_that_is_away_is_a_page(be, settings):
    providers = settings.SOCIALACCOUNT_PROVIDERS
    providers["openid_connect"]["APPS"][0]["settings"]["server_url"] = "http://127.0.0.1:1"
    assert Client().get("/accounts/oidc/login/").status_code == 503


@pytest.mark.parametrize("who", [{"email_verified": False}, {"email": ""}, {"email_verified": "false"}])
def test_an_address_that_was_not_confirmed_lets_nobody_in(be, who):
    be(**who)
    answer = come_in(client := Client())
    assert answer.status_code == 403 and not is_signed_in(client) and not User.objects.exists()
    assert [(row.act, row.after) for row in acts()] == [("user.sign_in_failed", {"how": "identity provider"})]


def test_a_sign_in_has_a_nonce_of_its_own(settings):
    """Or a token made for somebody else's sign-in would be good for ours."""
    nonces = {nonce_of("one"), nonce_of("another")}
    settings.SECRET_KEY = "another" * 10
    assert len(nonces | {nonce_of("one")}) == 3


def test_domains_are_asked_about_each_time(catalogue, be, settings):
    settings.OIDC_DOMAINS = ["example.org"]
    come_in(client := Client())
    assert is_signed_in(client)
    be(email="olga@elsewhere.example")
    assert come_in(client := Client()).status_code == 403 and not is_signed_in(client)
    be(sub="u-2", email="eve@sub.example.org")
    assert come_in(Client()).status_code == 403 and User.objects.count() == 1


def test_a_domain_is_the_same_in_capitals(catalogue, be, settings):
    settings.OIDC_DOMAINS = ["example.org"]
    be(email="Olga@Example.ORG")
    come_in(client := Client())
    assert is_signed_in(client)


def test_a_callback_that_was_not_asked_for_lets_nobody_in(be):
    away = Client().get("/accounts/oidc/login/")
    back = requests.get(away["Location"], allow_redirects=False, timeout=10)
    url = urlsplit(back.headers["Location"])
    victim = Client()
    assert victim.get(f"{url.path}?{url.query}").status_code == 403 and not is_signed_in(victim)


def test_a_flood_of_callbacks_fills_no_table_and_asks_the_provider_nothing(be, address):
    asked = len(requests.get(f"{address}/asked", timeout=10).json()["asked"])
    for _ in range(10):
        assert Client(**HERE).get("/accounts/oidc/callback/?code=x&state=y").status_code == 403
    assert len(acts()) == 1
    assert len(requests.get(f"{address}/asked", timeout=10).json()["asked"]) == asked


def test_a_full_account_takes_nobody_and_they_still_come_in(account, be, settings, monkeypatch, caplog):
    from accounts import caps
    from accounts.refused import Refused

    def full(_):
        raise Refused("The account has no room.")

    monkeypatch.setattr(caps, "require_room_for_a_member", full)
    settings.OIDC_ROLE, settings.OIDC_ACCOUNT = "member", "acme"
    come_in(client := Client())
    assert is_signed_in(client) and not Membership.objects.exists()
    assert "joined no account: The account has no room." in caplog.text


def test_a_code_works_once(catalogue, be):
    client = Client()
    away = client.get("/accounts/oidc/login/")
    url = urlsplit(requests.get(away["Location"], allow_redirects=False, timeout=10).headers["Location"])
    assert client.get(f"{url.path}?{url.query}").status_code == 302
    assert client.get(f"{url.path}?{url.query}").status_code == 403


def test_one_comes_back_to_where_one_was_going_and_to_no_other_host(catalogue, be):
    assert come_in(Client(), next="/accounts/sessions/")["Location"] == "/accounts/sessions/"
    assert come_in(Client(), next="https://evil.example/")["Location"] == home()


def test_a_link_adds_nothing_to_what_the_provider_is_asked(be):
    away = Client().get("/accounts/oidc/login/", {"scope": "admin", "auth_params": "prompt=none", "process": "connect"})
    asked = parse_qs(urlsplit(away["Location"]).query)
    assert set(asked["scope"][0].split()) == {"openid", "profile", "email"} and "prompt" not in asked


def test_a_second_factor_is_asked_for_all_the_same(be):
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    user = mia()
    EmailAddress.objects.create(user=user, email="mia@example.org", verified=True, primary=True)
    TOTP.activate(user, generate_totp_secret())
    be(email="mia@example.org")
    assert come_in(client := Client())["Location"] == "/accounts/second-factor/authenticate/"
    assert not is_signed_in(client)
