"""Who may make a user of their own, and what they have then."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import Account, Membership, User
from accounts.services.invitations import invite
from accounts.services.roles import set_role
from store.throttles import FORMS_FROM
from tests.accounts.forms import posted
from tests.api.callers import fill
from tests.conftest import ACTOR
from tests.console.signing.people import HERE, PASSWORD, acts, home, is_signed_in, link_in_the_last_mail, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)

SIGN_UP = "/accounts/signup/"
ADA = {"email": "ada@example.org", "password1": PASSWORD}


@pytest.fixture
def is_open(settings):
    settings.SIGN_UP = "open"


def test_from_sign_up_to_an_account_of_one_s_own(catalogue, is_open):
    client = Client(**HERE)
    assert "Create an account" in client.get("/login/").content.decode()
    sent = client.post(SIGN_UP, ADA)
    assert (sent.status_code, sent["Location"]) == (302, "/accounts/confirm-email/")
    assert not is_signed_in(client) and not Account.objects.exists()
    link = link_in_the_last_mail()
    assert client.get(link).status_code == 200 and not Account.objects.exists()  # a mail scanner confirms nothing
    done = client.post(link)
    assert (done.status_code, done["Location"]) == (302, home())
    assert is_signed_in(client)
    ada, account = User.objects.get(), Account.objects.get()
    assert (ada.username, ada.email, ada.is_staff) == ("ada@example.org", "ada@example.org", False)
    assert (account.name, account.plan.name) == ("ada", "free")
    assert Membership.objects.get(account=account, user=ada).role == "owner"
    words = [row.act for row in acts() if row.act.startswith(("user.", "account."))]
    assert sorted(words) == ["account.create", "user.email_confirm", "user.sign_in", "user.sign_up"]


def test_the_address_is_confirmed_first(catalogue, is_open):
    Client().post(SIGN_UP, ADA)
    client = Client()
    assert sign_in(client, "ada@example.org")["Location"] == "/accounts/confirm-email/"
    assert not is_signed_in(client)


def test_who_has_been_in_before_need_not_confirm(settings):
    """An operator let them in. The address that they have entered since is one they may still confirm."""
    user = mia(last_login=timezone.now())
    EmailAddress.objects.create(user=user, email="mia@new.example", verified=False)
    sign_in(client := Client())
    assert is_signed_in(client)


def test_a_confirmation_in_another_browser_confirms_and_signs_nobody_in(catalogue, is_open):
    Client().post(SIGN_UP, ADA)
    other = Client()
    other.post(link_in_the_last_mail())
    assert not is_signed_in(other) and Account.objects.exists()
    assert sign_in(other, "ADA@example.org").status_code == 302 and is_signed_in(other)


def test_who_has_joined_an_account_meanwhile_gets_none_of_their_own(account, is_open):
    Client().post(SIGN_UP, ADA)
    set_role(account, User.objects.get(), "viewer", actor=ACTOR)
    Client().post(link_in_the_last_mail())
    assert EmailAddress.objects.get().verified and Account.objects.get() == account


def test_who_confirms_after_signing_up_was_closed_gets_no_account(catalogue, is_open, settings):
    Client().post(SIGN_UP, ADA)
    settings.SIGN_UP = "invitation"
    Client().post(link_in_the_last_mail())
    assert EmailAddress.objects.get().verified and not Account.objects.exists()


def test_a_confirmation_works_once(catalogue, is_open):
    Client().post(SIGN_UP, ADA)
    link = link_in_the_last_mail()
    Client().post(link)
    assert Client().post(link).status_code == 404
    assert Account.objects.count() == 1


def test_an_address_that_is_known_is_not_told(catalogue, is_open):
    mia()
    answers = [Client().post(SIGN_UP, {**ADA, "email": email}) for email in ("mia@example.org", "ada@example.org")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {(302, "/accounts/confirm-email/")}
    assert "You already have a user" in mail.outbox[0].subject
    assert User.objects.filter(email="mia@example.org").count() == 1


def test_who_has_the_address_as_a_user_name_keeps_it(catalogue, is_open):
    User.objects.create_user("Ada@example.org")
    Client().post(SIGN_UP, ADA)
    assert User.objects.get(email="ada@example.org").username == "ada"


@pytest.mark.parametrize("email", ["o'hara@example.org", "a!b@example.org"])
def test_an_address_that_is_no_user_name_signs_up_all_the_same(catalogue, is_open, email):
    answer = Client().post(SIGN_UP, {**ADA, "email": email})
    assert answer.status_code == 302 and User.objects.filter(email=email).exists()


def test_a_weak_password_is_refused(catalogue, is_open):
    page = Client().post(SIGN_UP, {**ADA, "password1": "098712360987"})
    assert page.status_code == 200 and "entirely numeric" in page.content.decode() and not User.objects.exists()


def test_sign_ups_are_counted(catalogue, is_open, redis_db):
    fill(redis_db, FORMS_FROM, "203.0.113.7")
    assert Client(**HERE).post(SIGN_UP, ADA).status_code == 429
    assert not User.objects.exists() and not mail.outbox


@pytest.mark.parametrize("setting", ["invitation", "off"])
def test_it_is_closed_otherwise(settings, setting):
    settings.SIGN_UP = setting
    client = Client()
    assert "Signing up is closed" in client.get(SIGN_UP).content.decode()
    client.post(SIGN_UP, ADA)
    assert not User.objects.exists()
    assert SIGN_UP not in client.get("/login/").content.decode()


# Invitations


@pytest.fixture
def link(account):
    invite(account, email="New@example.org", role="member", actor=ACTOR)
    return link_in_the_last_mail()


@pytest.mark.parametrize("setting", ["invitation", "open"])
def test_a_guest_makes_a_user_whose_address_is_confirmed(account, link, settings, setting):
    settings.SIGN_UP = setting
    client = Client(**HERE)
    client.post(link, posted(client.get(link), password1=PASSWORD, password2=PASSWORD))
    assert is_signed_in(client)
    guest = User.objects.get()
    assert Membership.objects.get(user=guest).role == "member"
    address = EmailAddress.objects.get(user=guest)
    assert address.verified and address.primary
    assert Account.objects.count() == 1  # none of their own
    again = Client()
    assert sign_in(again, "new@example.org").status_code == 302 and is_signed_in(again)
    assert "203.0.113.7" in client.get("/accounts/sessions/").content.decode()


def test_an_address_that_somebody_else_confirmed_stays_theirs(account, link):
    """The link was forwarded, or the mailbox has changed hands: the guest joins all the same."""
    first = mia()
    EmailAddress.objects.create(user=first, email="new@example.org", verified=True, primary=True)
    client = Client(**HERE)
    client.post(link, posted(client.get(link), password1=PASSWORD, password2=PASSWORD))
    assert is_signed_in(client) and Membership.objects.get(account=account).user != first
    assert EmailAddress.objects.get().user == first


def test_a_guest_who_has_a_user_signs_in_and_joins(account, link):
    mia()
    client = Client()
    assert f"/login/?next={quote(link)}" in client.get(link).content.decode()
    assert (
        client.post(f"/login/?next={link}", {"username": "mia", "password": PASSWORD, "next": link})["Location"] == link
    )
    assert client.post(link).status_code == 200
    assert Membership.objects.get(user__username="mia").role == "member"


def test_switched_off_only_those_who_have_a_user_join(account, link, settings):
    settings.SIGN_UP = "off"
    client = Client()
    page = client.get(link).content.decode()
    assert "password1" not in page and "Sign in" in page
    answer = client.post(link, {"username": "new", "password1": PASSWORD, "password2": PASSWORD})
    assert answer.status_code == 302 and answer["Location"].startswith("/login/?next=/invitations/")
    assert not User.objects.exists()
    client.force_login(mia())
    assert client.post(link).status_code == 200 and Membership.objects.filter(user__username="mia").exists()


# Addresses


def change_address(client: Client, email: str) -> None:
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.post("/accounts/email/", {"email": email, "action_add": ""})


def test_an_address_changes_when_the_new_one_is_confirmed(catalogue, is_open):
    client = Client(**HERE)
    client.post(SIGN_UP, ADA)
    client.post(link_in_the_last_mail())
    change_address(client, "ada@new.example")
    assert User.objects.get().email == "ada@example.org"
    client.post(link_in_the_last_mail())
    assert User.objects.get().email == "ada@new.example"
    assert [row.email for row in EmailAddress.objects.all()] == ["ada@new.example"]
    assert acts("user.email_change")[0].after == {"email": "ada@new.example"}
    assert sign_in(other := Client(), "ada@new.example").status_code == 302 and is_signed_in(other)
    assert Account.objects.count() == 1


def test_only_the_first_address_brings_an_account(catalogue, is_open):
    client = Client(**HERE)
    client.post(SIGN_UP, ADA)
    client.post(link_in_the_last_mail())
    Membership.objects.all().delete()
    change_address(client, "ada@new.example")
    client.post(link_in_the_last_mail())
    assert User.objects.get().email == "ada@new.example" and not Membership.objects.exists()


@pytest.mark.parametrize("fields", [None, ["email"], ["first_name", "email"]])
def test_an_address_that_an_operator_corrects_signs_in_no_more(fields):
    user = mia()
    EmailAddress.objects.create(user=user, email="mia@example.org", verified=True, primary=True)
    user.email = "mia@correct.example"
    user.save(update_fields=fields)
    sign_in(client := Client(), "mia@example.org")
    assert not is_signed_in(client)
    Client().post("/accounts/password/reset/", {"email": "mia@example.org"})
    assert "no user there has it" in str(mail.outbox[-1].body)


def test_an_address_written_in_another_case_stays_confirmed():
    user = mia()
    EmailAddress.objects.create(user=user, email="mia@example.org", verified=True, primary=True)
    user.email = "Mia@Example.org"
    user.save()
    assert EmailAddress.objects.get().email == "mia@example.org"


def test_signing_in_keeps_a_new_address_that_waits_for_its_confirmation():
    user = mia()
    EmailAddress.objects.create(user=user, email="mia@example.org", verified=True, primary=True)
    sign_in(client := Client())
    change_address(client, "mia@new.example")
    sign_in(Client())
    assert set(EmailAddress.objects.values_list("email", flat=True)) == {"mia@example.org", "mia@new.example"}
