"""The people of an account, and invitations by mail."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import AuditEvent, Invitation, Membership, User
from accounts.refused import Refused
from accounts.services.accounts import close_account
from accounts.services.invitations import accept, invite, link_to, withdraw
from store.throttles import INVITATIONS
from tests.accounts.forms import complaints, posted
from tests.api.callers import member_of, operator, program_of, signed_in
from tests.conftest import ACTOR

JSON = "application/json"


def id_of(username):
    return Membership.objects.get(user__username=username).public_id


def path_in_the_mail():
    (link,) = re.findall(r"http://127\.0\.0\.1:8081(\S+)", str(mail.outbox[-1].body))
    return link


# Members.


def test_members_are_listed_with_public_ids_and_roles(owner, account, place):
    member_of(account, "viewer", "vera")
    rows = owner.get(f"{place}/members/").json()["results"]
    assert [(row["username"], row["role"], row["email"]) for row in rows] == [
        ("olga", "owner", "olga@example.org"),
        ("vera", "viewer", "vera@example.org"),
    ]
    assert all(re.fullmatch("[0-9A-Za-z]{16}", row["id"]) for row in rows)
    assert len(owner.get(f"{place}/members/?role=viewer").json()["results"]) == 1


@pytest.mark.django_db(transaction=True)
def test_two_owners_do_not_go_at_the_same_moment(account):
    owners = {name: member_of(account, "owner", name) for name in ("olga", "otto")}
    place = f"/api/v1/accounts/{account.public_id}/members"

    def leave(name):
        try:
            return owners[name].delete(f"{place}/{ids[name]}/").status_code
        finally:
            connection.close()

    ids = {name: id_of(name) for name in owners}
    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(leave, owners)) == [204, 409]


def test_a_changed_role_is_recorded_in_the_audit_log(owner, account, place):
    member_of(account, "viewer", "vera")
    response = owner.patch(f"{place}/members/{id_of('vera')}/", {"role": "admin"}, content_type=JSON)
    assert response.json()["role"] == "admin"
    event = AuditEvent.objects.filter(act="account.member").first()
    assert event is not None
    assert (event.actor, event.before, event.after) == (
        "olga",
        {"user": "vera", "role": "viewer"},
        {"user": "vera", "role": "admin"},
    )


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_the_last_owner_can_neither_leave_nor_get_a_lower_role(owner, account, place, who):
    client, url = owner if who == "owner" else operator("accounts:write"), f"{place}/members/{id_of('olga')}/"
    assert client.delete(url).status_code == 409
    assert client.patch(url, {"role": "admin"}, content_type=JSON).status_code == 409
    member_of(account, "owner", "otto")
    assert client.delete(url).status_code == 204 and Membership.objects.filter(role="owner").count() == 1


@pytest.mark.parametrize("role", ["viewer", "member", "admin"])
def test_everybody_may_leave(owner, account, place, role):
    client = member_of(account, role, "leaver")
    assert client.delete(f"{place}/members/{id_of('leaver')}/").status_code == 204
    assert client.get(f"{place}/").status_code == 404


def test_an_admin_cannot_make_anybody_an_owner(owner, account, place):
    admin = member_of(account, "admin", "adam")
    for url, send in (
        (f"{place}/members/{id_of('adam')}/", admin.patch),
        (f"{place}/members/{id_of('olga')}/", admin.patch),
    ):
        assert send(url, {"role": "owner"}, content_type=JSON).status_code == 403
    response = admin.post(f"{place}/invitations/", {"email": "x@example.org", "role": "owner"}, content_type=JSON)
    assert response.status_code == 403 and not mail.outbox


def test_an_operator_can_add_somebody_who_has_a_user(account, place):
    User.objects.create_user("nina")
    client = operator("accounts:write")
    made = client.post(f"{place}/members/", {"username": "nina", "role": "member"}, content_type=JSON)
    missing = client.post(f"{place}/members/", {"username": "nobody", "role": "member"}, content_type=JSON)
    assert made.status_code == 201 and made.json()["role"] == "member"
    assert missing.status_code == 400 and missing.json()["errors"][0]["field"] == "username"


# Invitations.


def test_somebody_new_is_invited_makes_a_user_and_belongs_to_the_account(owner, place, account):
    response = owner.post(f"{place}/invitations/", {"email": "new@example.org", "role": "admin"}, content_type=JSON)
    assert response.status_code == 201 and response.json()["sent_at"] and mail.outbox[0].to == ["new@example.org"]
    guest, path = Client(), path_in_the_mail()
    page = guest.get(path)
    assert (
        page.status_code == 200 and page["Referrer-Policy"] == "strict-origin" and "no-store" in page["Cache-Control"]
    )
    password = "a long pass phrase"
    done = guest.post(path, posted(page, username="newcomer", password1=password, password2=password))
    assert done.status_code == 200 and "Welcome" in done.content.decode()
    assert guest.get("/api/v1/me/").json()["accounts"] == [{"id": account.public_id, "name": "acme", "role": "admin"}]
    assert User.objects.get(username="newcomer").email == "new@example.org"


def test_somebody_who_is_signed_in_joins_with_one_button(owner, place, account):
    invite(account, email="nina@example.org", role="member", actor=ACTOR)
    nina = signed_in(User.objects.create_user("nina"))
    path = path_in_the_mail()
    page = nina.get(path)
    assert not Membership.objects.filter(
        user__username="nina"
    ).exists()  # opening the link, as a scanner does, accepts nothing
    assert nina.post(path, posted(page)).status_code == 200
    assert Membership.objects.get(user__username="nina").role == "member"


def test_a_link_works_once(owner, place, account):
    invite(account, email="nina@example.org", role="member", actor=ACTOR)
    path = path_in_the_mail()
    assert signed_in(User.objects.create_user("nina")).post(path).status_code == 200
    assert signed_in(User.objects.create_user("other")).post(path).status_code == 410
    assert Membership.objects.count() == 2


def test_an_existing_member_keeps_their_role(owner, account):
    invite(account, email="other@example.org", role="viewer", actor=ACTOR)
    assert owner.post(path_in_the_mail()).status_code == 200
    assert Membership.objects.get(user__username="olga").role == "owner"


def test_a_password_that_is_too_simple_is_refused(owner, account):
    invite(account, email="new@example.org", role="member", actor=ACTOR)
    guest, path = Client(), path_in_the_mail()
    page = guest.post(path, posted(guest.get(path), username="n", password1="1234", password2="1234"))
    assert complaints(page) and not User.objects.filter(username="n").exists()


def test_resending_invalidates_the_previous_link(owner, place, account):
    row = invite(account, email="new@example.org", role="member", actor=ACTOR)
    old = path_in_the_mail()
    response = owner.post(f"{place}/invitations/{row.public_id}/resend/")
    assert response.status_code == 200 and len(mail.outbox) == 2
    assert Client().get(old).status_code == 410 and Client().get(path_in_the_mail()).status_code == 200


@pytest.mark.parametrize("how", ["withdrawn", "expired", "closed", "forged"])
def test_a_link_ends(owner, place, account, how):
    row = invite(account, email="new@example.org", role="member", actor=ACTOR)
    path = path_in_the_mail()
    if how == "withdrawn":
        assert owner.delete(f"{place}/invitations/{row.public_id}/").status_code == 204
    elif how == "expired":
        models_base(Invitation).update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "closed":
        close_account(account, actor=ACTOR)
    else:
        path = path[:-2] + ("A" if path[-2] != "A" else "B") + "/"
    for answer in (Client().get(path), owner.post(path)):
        assert answer.status_code == 410 and "acme" not in answer.content.decode()


def test_nobody_is_invited_twice(owner, place, account):
    body = {"email": "new@example.org"}
    assert owner.post(f"{place}/invitations/", body, content_type=JSON).status_code == 201
    again = owner.post(f"{place}/invitations/", {"email": "NEW@example.org"}, content_type=JSON)
    assert again.status_code == 409 and Invitation.objects.get().public_id in again.json()["detail"]
    models_base(Invitation).update(expires_at=timezone.now())
    assert owner.post(f"{place}/invitations/", body, content_type=JSON).status_code == 201
    member = owner.post(f"{place}/invitations/", {"email": "olga@example.org"}, content_type=JSON)
    assert member.status_code == 409


@pytest.mark.parametrize(
    "body",
    [{}, {"email": "x"}, {"email": 5}, {"email": "a@b.c\nBcc: x@y.z"}, {"email": "a@example.org", "role": "king"}],
)
def test_an_invalid_invitation_is_refused(owner, place, body):
    response = owner.post(f"{place}/invitations/", body, content_type=JSON)
    assert response.status_code == 400 and response.json()["errors"][0]["field"] in ("email", "role")


def test_a_mail_that_cannot_be_sent_is_reported_and_can_be_sent_later(owner, place, settings, caplog):
    settings.EMAIL_BACKEND = "runtime.mail.NoMail"
    response = owner.post(f"{place}/invitations/", {"email": "new@example.org"}, content_type=JSON)
    row = response.json()
    assert response.status_code == 201 and row["sent_at"] is None and "could not be sent" in caplog.text
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert owner.post(f"{place}/invitations/{row['id']}/resend/").json()["sent_at"]


def test_an_accounts_name_cannot_add_a_header_to_the_mail(account):
    account.name = "a\nBcc: x@example.org"
    account.save()
    invite(account, email="new@example.org", role="member", actor=ACTOR)
    assert mail.outbox[0].subject == "Invitation to an account at 127.0.0.1:8081"
    assert '    Account:     "a Bcc: x[@]example[.]org", ' in mail.outbox[0].body


def test_mails_are_throttled_and_none_is_sent_without_redis(account, place, redis_away):
    client = program_of(account, "members:write")
    with redis_away():
        response = client.post(f"{place}/invitations/", {"email": "a@example.org"}, content_type=JSON)
    assert response.status_code == 503 and response["Retry-After"] and not mail.outbox
    for _ in range(INVITATIONS.calls):
        INVITATIONS.wait(account.public_id)
    response = client.post(f"{place}/invitations/", {"email": "a@example.org"}, content_type=JSON)
    assert response.status_code == 429 and int(response["Retry-After"]) > 0 and not Invitation.objects.exists()


def test_the_link_is_in_no_answer_of_the_api(owner, place, account):
    row = invite(account, email="new@example.org", role="member", actor=ACTOR)
    token = link_to(row).rsplit("/", 2)[1]
    for path in ("invitations/", f"invitations/{row.public_id}/"):
        assert token.rsplit(":", 1)[1] not in owner.get(f"{place}/{path}").content.decode()


def test_neither_an_admin_nor_a_program_can_change_an_owners_invitation(place, account, owner):
    owner.post(f"{place}/invitations/", {"email": "heir@example.org", "role": "owner"}, content_type=JSON)
    row = Invitation.objects.get()
    for caller in (member_of(account, "admin"), program_of(account, "members:write")):
        assert caller.post(f"{place}/invitations/{row.public_id}/resend/").status_code == 403
        assert caller.delete(f"{place}/invitations/{row.public_id}/").status_code == 403
    assert owner.post(f"{place}/invitations/{row.public_id}/resend/").status_code == 200


def test_adding_the_last_owner_again_with_a_lower_role_is_a_conflict(place, owner):
    clerk = operator("accounts:write")
    answer = clerk.post(f"{place}/members/", {"username": "olga", "role": "viewer"}, content_type=JSON)
    assert answer.status_code == 409
    assert Membership.objects.get(user__username="olga").role == "owner"


def test_an_invitation_erased_by_a_concurrent_closing_is_refused(account, place):
    row = invite(account, email="late@example.org", role="member", actor=ACTOR)
    Invitation.objects.filter(pk=row.pk).delete()  # as closing does, after the link was read
    user = User.objects.create_user("late")
    with pytest.raises(Refused):
        accept(row, user, actor=ACTOR)
    with pytest.raises(Refused):
        withdraw(row, actor=ACTOR)
    assert not Membership.objects.filter(user=user).exists()


def test_a_change_of_role_needs_the_role(account, owner, place):
    id = owner.get(f"{place}/members/").json()["results"][0]["id"]
    answer = owner.patch(f"{place}/members/{id}/", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [{"field": "role", "detail": "This field is required."}],
    )
