"""Team, account and audit log."""

from __future__ import annotations

import json
import re

import pytest
from django.core import mail
from django.test import Client

from accounts.models import Account, AuditEvent, Invitation, Membership
from accounts.services.invitations import invite
from accounts.services.keys import issue_key
from tests.conftest import ACTOR
from tests.console.conftest import acting, person
from tests.console.test_keys import told

pytestmark = pytest.mark.django_db(transaction=True)


def team(account, rest: str = "") -> str:
    return f"/console/{account.public_id}/team/{rest}"


def seat(client: Client) -> Membership:
    return client.user.memberships.get()  # type: ignore[attr-defined,no-any-return]


# Invitations


def test_an_invitation_is_mailed_listed_sent_again_and_withdrawn(account, owner):
    owner.post(team(account, "invite/"), {"email": "new@example.org", "role": "member"})
    page = owner.get(team(account)).content.decode()
    assert "new@example.org" in page and "works for a week" in page and len(mail.outbox) == 1
    row = Invitation.objects.get()
    owner.post(team(account, f"invitations/{row.public_id}/resend/"))
    assert len(mail.outbox) == 2
    owner.post(team(account, f"invitations/{row.public_id}/withdraw/"))
    assert Invitation.objects.get().withdrawn_at and "Withdraw" not in owner.get(team(account)).content.decode()


@pytest.mark.parametrize(
    ("role", "email", "given", "said"),
    [
        ("admin", "new@example.org", "owner", "make somebody owner"),
        ("member", "new@example.org", "viewer", "may not invite"),
        ("owner", "nowhere", "viewer", "valid email address"),
        ("owner", "new@example.org", "emperor", "Choose a role."),
    ],
)
def test_nobody_is_invited_beyond_ones_rights_or_to_nowhere(account, role, email, given, said):
    client = person("mia", account, role)
    client.post(team(account, "invite/"), {"email": email, "role": given})
    assert said in told(client, team(account)) and not Invitation.objects.exists() and not mail.outbox


def test_the_form_offers_the_roles_that_one_gives(account):
    html = person("grace", account, "admin").get(team(account)).content.decode()
    form = html[html.index('id="invite"') :]
    assert re.findall(r'<option value="(\w+)"', form) == ["admin", "member", "viewer"]
    assert 'id="invite"' not in person("mia", account, "member").get(team(account)).content.decode()


def test_without_redis_no_mail_goes_out(account, owner, redis_away):
    with redis_away():
        owner.post(team(account, "invite/"), {"email": "new@example.org", "role": "member"})
    assert "No email can be sent" in told(owner, team(account)) and not mail.outbox


def test_the_twenty_sixth_mail_of_a_day_waits(account, owner):
    row = invite(account, email="new@example.org", role="member", actor=ACTOR)
    answers = [owner.post(team(account, f"invitations/{row.public_id}/resend/")).status_code for _ in range(6)]
    assert answers == [302, 302, 302, 302, 429, 429]  # four to one mailbox


# Members


def test_a_role_is_given_and_taken(account, owner):
    mia = seat(person("mia", account, "viewer"))
    owner.post(team(account, f"{mia.public_id}/role/"), {"role": "admin"})
    assert Membership.objects.get(pk=mia.pk).role == "admin" and "mia now has the role “Admin”." in told(
        owner, team(account)
    )


def test_the_last_owner_stays(account, owner):
    ada = seat(owner)
    for act, sent in (("role", {"role": "viewer"}), ("remove", {})):
        owner.post(team(account, f"{ada.public_id}/{act}/"), sent)
        assert "is the last owner" in told(owner, team(account))
    assert Membership.objects.get(pk=ada.pk).role == "owner"


@pytest.mark.parametrize(("wish", "status"), [("keep", 200), ("revoke", 401)])
def test_removing_somebody_keeps_or_revokes_what_they_made(account, owner, ask, wish, status):
    mia = person("mia", account, "member")
    made = issue_key(account, name="made by mia", actor=acting(mia))
    page = owner.get(team(account, f"{seat(mia).public_id}/")).content.decode()
    assert "made by mia" in page
    owner.post(team(account, f"{seat(mia).public_id}/remove/"), {"keys": wish})
    assert ask(made.text).status == status and not mia.user.memberships.exists()  # type: ignore[attr-defined]
    assert mia.get(team(account)).status_code == 404


def test_anybody_may_leave(account, owner):
    vera = person("vera", account, "viewer")
    assert "Leave" in vera.get(team(account, f"{seat(vera).public_id}/")).content.decode()
    left = vera.post(team(account, f"{seat(vera).public_id}/remove/"), follow=True)
    assert "You have no account yet" in left.content.decode()


def test_an_admin_touches_no_owner(account, owner):
    grace = person("grace", account, "admin")
    ada = seat(owner)
    assert grace.get(team(account, f"{ada.public_id}/")).status_code == 403
    for act, sent in (("role", {"role": "viewer"}), ("remove", {})):
        grace.post(team(account, f"{ada.public_id}/{act}/"), sent)
        assert "may not change and remove owners" in told(grace, team(account))
    assert Membership.objects.get(pk=ada.pk).role == "owner"


# Account


def test_the_account_is_renamed(account, owner):
    page = f"/console/{account.public_id}/account/"
    owner.post(f"{page}rename/", {"name": "Acme & Sons"})
    assert "Acme &amp; Sons" in told(owner, page)
    owner.post(f"{page}rename/", {"name": ""})
    assert Account.objects.get(pk=account.pk).name == "Acme & Sons"


def test_owners_are_led_to_the_export_without_secrets(account, owner, issued):
    page = f"/console/{account.public_id}/account/"
    (link,) = re.findall(r'href="([^"]+/export/)"', owner.get(page).content.decode())
    answer = owner.get(link)
    found = json.loads(answer.getvalue())
    assert found["account"]["id"] == account.public_id and [key["name"] for key in found["keys"]] == ["first"]
    assert issued.text not in answer.getvalue().decode() and "attachment" in answer["Content-Disposition"]
    assert "/export/" not in person("grace", account, "admin").get(page).content.decode()


# Audit log


def test_the_audit_log_tells_who_did_what_in_words(account, owner, issued):
    owner.post(f"/console/{account.public_id}/keys/{issued.key.public_id}/rename/", {"name": "second"})
    html = owner.get(f"/console/{account.public_id}/audit/").content.decode()
    assert (
        "Changed a key" in html and ">second</a>" in html and "<del>first</del>" in html and "<ins>second</ins>" in html
    )


def test_the_audit_log_has_pages_and_kinds(account, owner, pro_key):
    events = [
        AuditEvent(actor="ada", act="key.issue", account=account.public_id, subject=f"s{n:02}") for n in range(60)
    ]
    AuditEvent.objects.bulk_create(events)
    page = f"/console/{account.public_id}/audit/"
    first = owner.get(page, {"kind": "key."}).content.decode()
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = owner.get(page + older.replace("&amp;", "&")).content.decode()
    seen = re.findall(r">(s\d\d)<", first) + re.findall(r">(s\d\d)<", second)
    assert seen == [f"s{n:02}" for n in reversed(range(60))]
    assert pro_key.key.public_id not in first + second
    assert "Changed who belongs" not in first
    assert "Changed who belongs" in owner.get(page, {"kind": "account."}).content.decode()
