"""Every page and mail in a test language that shows what nobody marked or translated."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.test import Client
from django.utils.translation import override

from accounts.models import Account, ApiKey, Invitation, Membership, User
from accounts.services.accounts import suspend_account
from accounts.services.invitations import invite, link_to
from accounts.services.keys import issue_key, revoke_key
from api.base.problems import WORDS
from console import first_operator
from console.pages import ADVICE
from tests.accounts.notifications.test_words import OCCASIONS, mail_about
from tests.bracketed import brackets, words_outside, words_outside_on
from tests.conftest import ACTOR
from tests.console.conftest import person
from tests.console.signing.people import sign_in
from tests.console.test_frame import READERS, addresses  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery"
# Names of the account's people and things, and what is the same in every language.
DATA = re.compile(
    r"authsvc|acme|free|first|sm|small|ada|mia|tests|ci-staging|deploy(?:-job)?|\w+:(?:read|write)|ask_\w*|[A-Z2-7]{3,}|\w+[@.][-\w.@]+"
    r"|curl|cURL|Python|JavaScript|http|Firefox[/.\d]*"
)


def unmarked(page: str) -> list[str]:
    for row in (Account, ApiKey, Membership, Invitation):
        for public_id in row.objects.order_by("-public_id").values_list("public_id", flat=True):
            page = page.replace(public_id, " ")
    return [word for word in words_outside_on(page) if not DATA.fullmatch(word)]


@pytest.fixture(autouse=True)
def _in_brackets():
    with brackets():
        yield


@pytest.fixture
def full(account, issued, used):
    """An account on which most of what pages can say is to be said."""
    used(issued.key, calls=120, refused=3)
    used(issued.key, calls=50, ago=timedelta(days=3))


def test_the_test_language_finds_what_is_not_marked():
    assert words_outside("⟦À ⟦deux⟧ jours⟧ and more") == ["and", "more"]
    page = '<p title="Hello">⟦<b>x</b> y⟧ <code>GET</code> <i>there</i></p><input type="submit" value="Go on">'
    assert words_outside_on(page) == ["there", "Hello", "Go", "on"]


@pytest.mark.parametrize("name", sorted(set(READERS) - {"console_usage_csv"}))
def test_pages_of_an_account_have_no_english(name, addresses, owner, full):  # noqa: F811
    page = owner.get(addresses[name], headers={"Accept-Language": "fr"})
    assert page.status_code == 200 and "⟦" in page.content.decode()
    assert unmarked(page.content.decode()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/login/",
        "/accounts/signup/",
        "/accounts/inactive/",
        "/accounts/confirm-email/",
        "/accounts/confirm-email/wrong/",
        "/accounts/password/reset/",
        "/accounts/password/reset/done/",
        "/accounts/password/reset/key/1-wrong/",
        "/accounts/password/reset/key/done/",
        "/accounts/oidc/callback/",
        "/invitations/wrong/",
        "/first-operator/wrong/",
        "/first-operator/",
        "/nothing/",
        *(f"/errors/{code}" for code in ADVICE),
        *(f"/errors/{code}" for code in WORDS),
    ],
)
def test_pages_before_signing_in_have_no_english(path, account):
    page = Client().get(path, headers={"Accept-Language": "fr"})
    assert page.status_code in (200, 400, 403, 404, 410, 503), page.status_code
    assert unmarked(page.content.decode()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/logout/",
        "/accounts/email/",
        "/accounts/password/change/",
        "/accounts/reauthenticate/",
        "/accounts/sessions/",
        "/accounts/notifications/",
        "/accounts/language/",
        "/accounts/second-factor/",
        "/accounts/second-factor/totp/activate/",
        "/accounts/second-factor/recovery-codes/generate/",
        "/accounts/second-factor/webauthn/",
        "/accounts/second-factor/webauthn/add/",
        "/console/",
    ],
)
def test_pages_of_ones_own_sign_in_have_no_english(path):
    client = Client(headers={"accept-language": "fr", "user-agent": "Firefox/149.0"})
    User.objects.create_user("ada", "ada@example.org", PASSWORD)
    sign_in(client, "ada", PASSWORD)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = client.get(path)
    assert page.status_code == 200, page.status_code
    assert unmarked(page.content.decode()) == []


@pytest.mark.parametrize("path", ["/login/", "/accounts/password/reset/", "/accounts/signup/"])
def test_forms_are_refused_without_english(path):
    page = Client().post(path, {"login": "ada", "password": "wrong", "email": "@"}, headers={"Accept-Language": "fr"})
    assert page.status_code in (200, 302) and unmarked(page.content.decode()) == []


def test_keys_in_every_state_have_no_english(account, owner):
    ended, paused, rotating, soon = (issue_key(account, name="first", actor=ACTOR) for _ in range(4))
    revoke_key(ended.key, actor=ACTOR)
    at = f"/console/{account.public_id}/keys/"
    owner.post(f"{at}{paused.key.public_id}/pause/")
    owner.post(f"{at}{rotating.key.public_id}/rotate/", {"grace": "86400", "version": rotating.key.version})
    for path in (at, *(f"{at}{one.key.public_id}/" for one in (ended, paused, rotating, soon))):
        page = owner.get(path, headers={"Accept-Language": "fr"}).content.decode()
        assert unmarked(page) == [], path


def test_making_a_key_has_no_english(account, owner):
    new = f"/console/{account.public_id}/keys/new/"
    wrong = owner.post(
        new, {"name": "", "networks": "x", "expires": "on", "last_day": "x"}, headers={"Accept-Language": "fr"}
    )
    assert unmarked(wrong.content.decode()) == []


def test_a_suspended_account_has_no_english(account, owner):
    suspend_account(account, actor=ACTOR)
    page = owner.get(f"/console/{account.public_id}/", headers={"Accept-Language": "fr"})
    assert unmarked(page.content.decode()) == []


def test_invitations_have_no_english(account):
    row = invite(account, email="new@example.org", role="member", actor=ACTOR)
    path = urlsplit(link_to(row)).path
    assert unmarked(Client().get(path, headers={"Accept-Language": "fr"}).content.decode()) == []
    client = person("mia")
    for send in (client.get, client.post):
        assert unmarked(send(path, headers={"Accept-Language": "fr"}).content.decode()) == []


def test_refusals_of_services_have_no_english(account, owner):
    issued = issue_key(account, name="first", actor=ACTOR)
    at = f"/console/{account.public_id}/keys/{issued.key.public_id}/rotate/"
    for form in ({"grace": "1d", "version": "0"}, {"grace": "x"}, {}):
        page = owner.post(at, form, headers={"Accept-Language": "fr"}, follow=True)
        assert unmarked(page.content.decode()) == []
    member = account.memberships.get()
    gone = owner.post(
        f"/console/{account.public_id}/team/{member.public_id}/remove/",
        headers={"Accept-Language": "fr"},
        follow=True,
    )
    assert "dernier propriétaire" in gone.content.decode() and unmarked(gone.content.decode()) == []


def test_programs_are_told_the_same_in_english_by_the_same_services(account, owner):
    member = account.memberships.get()
    at = f"/api/v1/accounts/{account.public_id}/members/{member.public_id}/"
    owner.cookies["language"] = "fr"
    answer = owner.delete(at, headers={"Accept-Language": "fr"})
    assert answer.json()["detail"] == "ada is the last owner. Make somebody else an owner first."
    assert answer.json()["title"] == "Conflict"


def test_the_first_operator_s_page_has_no_english(db):
    client = Client(headers={"accept-language": "fr"})
    client.get(urlsplit(first_operator.new_link() or "").path)
    for send in (client.get, client.post):
        assert unmarked(send("/first-operator/").content.decode()) == []


def test_mails_have_no_english(account, owner, settings):
    settings.SIGN_UP = "open"
    client = Client(headers={"accept-language": "fr"})
    User.objects.create_user("mia", "mia@example.org", PASSWORD)
    for email in ("mia@example.org", "nobody@example.org"):
        client.post("/accounts/password/reset/", {"email": email})
    for name, email in (("neu", "neu@example.org"), ("noch", "mia@example.org")):
        form = {"username": name, "email": email, "password1": PASSWORD, "password2": PASSWORD}
        client.post("/accounts/signup/", form)
    owner.post(
        f"/console/{account.public_id}/team/invite/",
        {"email": "new@example.org", "role": "member"},
        headers={"Accept-Language": "fr"},
    )
    assert len(mail.outbox) == 5
    for one in mail.outbox:
        assert unmarked_in_mail(str(one.subject), str(one.body)) == [], one.subject


def unmarked_in_mail(subject: str, text: str) -> list[str]:
    text = re.sub(r"https?://[^\s⟧]+", "", f"{subject}\n{text}")
    return [word for word in words_outside(text) if not DATA.fullmatch(word)]


@pytest.mark.parametrize("several", [1, 30])
@pytest.mark.parametrize("kind", OCCASIONS)
def test_mails_of_the_worker_have_no_english(kind, several, account, settings):
    settings.SUPPORT = "mailto:help@example.org"
    with override("fr"):
        written = mail_about(account, kind, several)
    assert unmarked_in_mail(*written) == [] and "⟦" in written.subject and "⟦" in written.text
