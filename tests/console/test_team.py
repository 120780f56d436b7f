"""Team, account and audit log."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db import models
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import Account, AuditEvent, Invitation, Membership, User
from accounts.services.invitations import accept, invite, withdraw
from accounts.services.keys import issue_key
from console.audit import ACTS
from console.audit_words import value_in_words
from console.team.pages import ON_A_PAGE
from tests.conftest import ACTOR
from tests.console.conftest import acting, person
from tests.console.test_keys import told
from tests.servers import ROOT

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
    html = owner.get(team(account)).content.decode()
    assert Invitation.objects.get().withdrawn_at and ">Withdrawn<" in html
    assert "/withdraw/" not in html and "/resend/" not in html


def test_invitations_are_listed_with_what_became_of_them_and_what_can_be_done(account, owner):
    rows = {
        name: invite(account, email=f"{name}@example.org", role="member", actor=ACTOR)
        for name in ("open", "late", "gone", "joined", "old")
    }
    accept(rows["joined"], User.objects.create_user("joe"), actor=ACTOR)
    withdraw(rows["gone"], actor=ACTOR)
    for name, days in (("late", 1), ("old", 31)):
        rows[name].expires_at = timezone.now() - timedelta(days=days)
        rows[name].save()
    html = owner.get(team(account)).content.decode()
    shown = re.findall(r'<span class="name">(\w+)@example.org</span>.*?badge \w*">(\w+)<(.*?)</tr>', html, re.DOTALL)
    assert [(name, state, "/resend/" in rest, "/withdraw/" in rest) for name, state, rest in shown] == [
        ("open", "Invited", True, True),
        ("joined", "Joined", False, False),
        ("gone", "Withdrawn", False, False),
        ("late", "Expired", True, False),
    ]
    assert "joe, " in next(rest for name, _, rest in shown if name == "joined")


def test_open_invitations_are_on_the_page_however_many_are_over(account, owner):
    first = invite(account, email="first@example.org", role="member", actor=ACTOR)
    for number in range(ON_A_PAGE):
        withdraw(invite(account, email=f"guest{number}@example.org", role="member", actor=ACTOR), actor=ACTOR)
    html = owner.get(team(account)).content.decode()
    assert first.email in html and html.count(">Withdrawn<") == ON_A_PAGE - 1


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


ACT = re.compile(r'"((?:account|key|invitation|management_key|import|catalogue|group|operator_token|user)\.[a-z_]+)"')
NOT_ACTS = {"account.public_id", "user.email", "user.username"}


def test_every_act_on_an_account_has_words():
    written = {
        act
        for folder in ("accounts", "api")
        for file in (ROOT / folder).rglob("*.py")
        for act in ACT.findall(file.read_text(encoding="utf-8"))
    }
    assert len(written) > 20 and written - NOT_ACTS <= set(ACTS)


@pytest.fixture
def told_of(account, owner):
    """What the audit log tells for a query."""

    def told_of(**query: str) -> list[str]:
        html = owner.get(f"/console/{account.public_id}/audit/", query).content.decode()
        return re.findall(r'<td role="cell" data-name="Who" class="break">([^<]+)</td>', html)

    return told_of


def write(account, **fields):
    at = fields.pop("at", None)
    given = {"actor": "ada", "act": "key.issue", "subject": "aaaaaaaa11111111", "account": account.public_id}
    row = AuditEvent.objects.create(**given | fields)
    if at is not None:
        models.QuerySet(AuditEvent).filter(pk=row.pk).update(at=at)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "revoked a k"}, ["bob"]),
        ({"q": "REVOKED A K"}, ["bob"]),
        ({"q": "bbbbbbbb"}, ["bob"]),
        ({"q": "198.51.100."}, ["ada"]),
        ({"q": "bo"}, ["bob"]),
        ({"q": "%"}, []),
        ({"who": "ADA"}, ["ada"]),
        ({"who": "ad"}, []),
        ({"from": "2026-03-01"}, ["bob"]),
        ({"to": "2026-03-01"}, ["bob", "ada"]),
        ({"to": "2026-02-28"}, ["ada"]),
        ({"from": "2026-03-02", "to": "2026-03-02"}, []),
        ({"from": "yesterday", "to": "9999-12-31"}, ["bob", "ada"]),
        ({"q": "bob", "kind": "account."}, []),
    ],
)
def test_the_audit_log_is_searched_by_words_people_and_days(account, owner, told_of, query, found):
    write(account, at=datetime(2026, 2, 1, 12, tzinfo=UTC), address="198.51.100.7")
    write(
        account, at=datetime(2026, 3, 1, 23, 59, tzinfo=UTC), actor="bob", act="key.revoke", subject="bbbbbbbb11111111"
    )
    query = {"kind": "key."} | query
    assert told_of(**query) == found


def test_the_audit_log_finds_a_key_by_its_name_of_today(account, owner, issued, told_of):
    write(account, actor="eve", subject=issued.key.public_id)
    assert "eve" in told_of(q="fir")


def test_an_empty_search_leads_back_to_everything(account, owner):
    page = f"/console/{account.public_id}/audit/"
    html = owner.get(page, {"q": "nobody said this"}).content.decode()
    assert "No entry matches." in html and f'href="{page}"' in html


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("models", None, "all models of the plan"),
        ("networks", ["192.0.2.0/24", "2001:db8::/32"], "192.0.2.0/24, 2001:db8::/32"),
        ("expires_at", "2026-03-01T12:00:00+00:00", "1 Mar 2026, 12:00 UTC"),
        ("expires_at", "soon", "soon"),
        ("max_keys", 12000, "12,000"),
        ("limits", {"own-day": "5/day"}, "own-day: 5/day"),
        ("overrides", {"month": {"amount": 20000, "burst": None}}, "month: amount: 20,000"),
        ("role", "admin", "admin"),
        ("name", "", "none"),
        ("enabled", True, "yes"),
    ],
)
def test_values_of_the_audit_log_are_said_in_words(name, value, said):
    assert strip_tags(value_in_words(name, value)) == said
