"""Invitations: our mails contain no bait from tenants, and nobody gets mails without limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone

from accounts.authority import Beyond
from accounts.facts.publish import models_base
from accounts.models import Account, Invitation, Membership, User
from accounts.refused import Refused
from accounts.services.accounts import close_account
from accounts.services.acts import Actor
from accounts.services.invitation_mail import LONGEST_LABEL, in_words, quoted
from accounts.services.invitations import GOOD_FOR, MOST_OPEN, accept, invite, resend, withdraw
from accounts.services.roles import set_role
from store.throttles import INVITATIONS, MAILS_TO, mailbox
from tests.api.callers import member_of
from tests.conftest import ACTOR

JSON = "application/json"


def invited(account, number):
    return invite(account, email=f"guest{number}@example.org", role="member", actor=ACTOR)


# The mail.


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("acme", '"acme"'),
        ("Acme, Inc. & Sons: since 1990", '"Acme, Inc. & Sons: since 1990"'),
        ("http://evil.example/login", '"http[:]//evil[.]example[/]login"'),
        ("www.evil.example", '"www[.]evil[.]example"'),
        ("evil.example/x", '"evil[.]example[/]x"'),
        ("evil.приклад", '"evil[.]приклад"'),
        ("evil。example", '"evil[。]example"'),
        ("olga@evil.example", '"olga[@]evil[.]example"'),
        ("mailto:olga", '"mailto[:]olga"'),
        ("203.0.113.5", '"203[.]0[.]113[.]5"'),
        ('Acme", by us', '"Acme\', by us"'),
        ("a\nb\r\nc\u2028d", '"a b c d"'),
        ("\x1b[2J\u202ea", '"\\x1b[2J\\u202ea"'),
        ("x" * 200, '"' + "x" * (LONGEST_LABEL - 1) + '…"'),
    ],
)
def test_a_label_is_quoted_on_one_line_without_links(label, shown):
    assert quoted(label) == shown


def test_the_only_link_in_a_mail_is_ours_and_the_subject_has_nothing_from_tenants(account):
    bait = "Your account is locked!\r\n\r\nUnlock it: https://evil.example/login"
    models_base(Account).update(name=bait)
    account.refresh_from_db()
    invite(account, email="new@example.org", role="member", actor=Actor("www.evil.example"))
    (sent,) = mail.outbox
    assert sent.subject == "Invitation to an account at 127.0.0.1:8081"
    assert "evil.example" not in sent.body and account.public_id in sent.body
    ours = "http://127.0.0.1:8081/invitations/"
    assert [ours if line.startswith(ours) else line for line in sent.body.splitlines() if "http" in line] == [
        f'    Account:     "Your account is locked! Unlock it: https[:]//evil[.]example[/]log…", {account.public_id}',
        ours,
    ]


def test_a_link_is_in_the_mail_as_it_is(account):
    link = "https://console.example.org/100%25/invitations/x/"
    assert f"\n{link}\n" in in_words(invited(account, 1), link)[1]


# What became of them.


@pytest.mark.parametrize("end", ["accepted", "withdrawn"])
def test_an_invitation_that_is_over_is_neither_accepted_nor_sent_again(account, end):
    """Somebody who has been removed since must not come back by an old invitation."""
    row, joe, stale = invited(account, 1), User.objects.create_user("joe"), Invitation.objects.get()
    accept(row, joe, actor=ACTOR) if end == "accepted" else withdraw(row, actor=ACTOR)
    mails = len(mail.outbox)
    with pytest.raises(Refused):
        accept(stale, User.objects.create_user("mallory"), actor=ACTOR)
    with pytest.raises(Refused):
        resend(Invitation.objects.get(), actor=ACTOR)
    assert not account.memberships.filter(user__username="mallory").exists()
    assert (len(mail.outbox), Invitation.objects.get().sendings) == (mails, row.sendings)


def test_each_state_is_what_a_list_of_that_state_contains(account):
    now = timezone.now()
    rows = {name: invited(account, name) for name in ("open", "late", "gone", "joined", "replaced", "unsent")}
    somebody = User.objects.create_user("joe")
    accept(rows["joined"], somebody, actor=ACTOR)
    withdraw(rows["gone"], actor=ACTOR)
    Invitation.objects.filter(email__in=[rows["late"].email, rows["replaced"].email]).update(
        expires_at=now - timedelta(days=1)
    )
    Invitation.objects.filter(pk=rows["unsent"].pk).update(sent_at=None)
    again = {name: invited(account, name) for name in ("replaced", "unsent")}
    expected = {
        "pending": {rows["open"], *again.values()},
        "accepted": {rows["joined"]},
        "withdrawn": {rows["gone"], rows["unsent"]},
        "expired": {rows["late"], rows["replaced"]},
    }
    found = {state: set(Invitation.objects.in_state(state, timezone.now())) for state in Invitation.State.values}
    assert found == expected
    assert all(row.current_state == state for state, group in found.items() for row in group)
    assert Invitation.objects.get(pk=rows["joined"].pk).accepted_by == somebody


MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize("end", ["expires", "is withdrawn as it expires", "is withdrawn before"])
@pytest.mark.parametrize("later", [-MOMENT, timedelta(0), MOMENT])
def test_to_the_microsecond_the_list_of_a_state_has_what_is_in_it(account, end, later):
    row = invited(account, 1)
    if end != "expires":
        row.withdrawn_at = row.expires_at - (MOMENT if end.endswith("before") else timedelta(0))
        row.save()
    now = row.expires_at + later
    of_state = [state for state in Invitation.State.values if Invitation.objects.in_state(state, now).exists()]
    assert of_state == [row.state(now)]
    assert row.is_open(now) is (end == "expires" and later < timedelta(0))


def test_programs_list_invitations_by_status(account):
    owner, place = member_of(account, "owner"), f"/api/v1/accounts/{account.public_id}/invitations/"
    accept(invited(account, 1), User.objects.create_user("joe"), actor=ACTOR)
    invited(account, 2)
    (joined,) = owner.get(f"{place}?status=accepted").json()["results"]
    assert (joined["email"], joined["status"], joined["accepted_by"]) == ("guest1@example.org", "accepted", "joe")
    (still_open,) = owner.get(f"{place}?status=pending").json()["results"]
    assert (still_open["status"], still_open["accepted_by"]) == ("pending", None)
    assert owner.get(f"{place}?status=withdrawn").json()["results"] == []
    assert owner.get(f"{place}?status=nonsense").status_code == 400


# Who is invited, and by whom.


def test_nobody_is_invited_to_a_closed_account(account):
    close_account(account, actor=ACTOR)
    with pytest.raises(Refused, match="is closed"):
        invited(account, 1)
    assert not mail.outbox and not Invitation.objects.exists()


@pytest.mark.parametrize("email", ["guest1@example.org", "Guest1@Example.ORG", " guest1@example.org "])
def test_nobody_is_invited_twice_however_the_address_is_written(account, email):
    row = invited(account, 1)
    with pytest.raises(Refused, match="has already been invited"):
        invite(account, email=email, role="member", actor=ACTOR)
    Invitation.objects.update(sent_at=None)  # its mail failed, so the same request sends a new one
    again = invite(account, email=email, role="member", actor=ACTOR)
    assert list(Invitation.objects.in_state("pending", timezone.now())) == [again] and again != row


def test_a_mail_that_cannot_be_sent_again_leaves_an_invitation_that_was_not_sent(account, monkeypatch):
    row = invited(account, 1)
    monkeypatch.setattr("accounts.services.invitations.EmailMessage.send", lambda _: 1 / 0)
    resend(row, actor=ACTOR)
    row.refresh_from_db()
    assert (row.sent_at, row.sendings) == (None, 2)


@pytest.mark.parametrize("email", ["grace@example.org", "Grace@Example.ORG", " grace@example.org "])
def test_a_member_is_not_invited_however_the_address_is_written(account, email):
    set_role(account, User.objects.create_user("grace", "grace@example.org"), "viewer", actor=ACTOR)
    with pytest.raises(Refused, match="already a member"):
        invite(account, email=email, role="member", actor=ACTOR)
    assert not mail.outbox


def test_sent_again_it_is_open_for_a_week_from_then(account):
    row = invited(account, 1)
    Invitation.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    resend(row, actor=ACTOR)
    in_a_week, moment = timezone.now() + GOOD_FOR, timedelta(minutes=1)
    row = Invitation.objects.get()
    assert row.is_open(in_a_week - moment) and not row.is_open(in_a_week + moment)


@pytest.mark.parametrize("act", ["invite", "resend", "withdraw"])
def test_who_has_lost_the_right_meanwhile_does_nothing(account, act):
    """The pages and the API ask before; the services ask under the account's lock."""
    row = invited(account, 1)
    vera = User.objects.create_user("vera")
    set_role(account, vera, "member", actor=ACTOR)
    actor = Actor("vera", user=vera)
    acts = {
        "invite": lambda: invite(account, email="eve@example.org", role="member", actor=actor),
        "resend": lambda: resend(row, actor=actor),
        "withdraw": lambda: withdraw(row, actor=actor),
    }
    with pytest.raises(Beyond):
        acts[act]()
    assert len(mail.outbox) == 1 and Invitation.objects.get().is_open(timezone.now())


def test_what_was_accepted_is_not_withdrawn(account):
    row = invited(account, 1)
    accept(row, User.objects.create_user("grace"), actor=ACTOR)
    with pytest.raises(Refused, match="has already joined"):
        withdraw(row, actor=ACTOR)
    assert Invitation.objects.get().withdrawn_at is None


def test_an_expired_invitation_is_not_accepted(account):
    row, grace = invited(account, 1), User.objects.create_user("grace")
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="has expired"):
        accept(row, grace, actor=ACTOR)
    assert not Membership.objects.exists()


# How many.


def test_an_account_has_at_most_ten_open_invitations(account):
    rows = [invited(account, number) for number in range(MOST_OPEN)]
    with pytest.raises(Refused, match=r"has 10 open invitations\. Withdraw one"):
        invited(account, "x")
    assert len(mail.outbox) == MOST_OPEN == Invitation.objects.count()
    withdraw(rows[0], actor=ACTOR)
    invited(account, "x")
    accept(rows[1], User.objects.create_user("guest1"), actor=ACTOR)
    invited(account, "y")
    with pytest.raises(Refused):
        invited(account, "z")


def test_an_expired_invitation_does_not_count_until_it_is_sent_again(account):
    old = invited(account, "old")
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for number in range(MOST_OPEN):
        invited(account, number)
    with pytest.raises(Refused, match="10 open invitations"):
        resend(old, actor=ACTOR)
    resend(Invitation.objects.get(email="guest0@example.org"), actor=ACTOR)


@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_invitations_ten_succeed(account):
    def ask(number):
        try:
            invited(Account.objects.get(), number)
        except Refused:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(MOST_OPEN + 6)))
    assert Invitation.objects.count() == MOST_OPEN


def test_withdrawing_and_sending_again_cannot_exceed_an_accounts_mails_per_day(account):
    owner, place = member_of(account, "owner"), f"/api/v1/accounts/{account.public_id}/invitations/"
    for number in range(INVITATIONS.calls):
        answer = owner.post(place, {"email": f"guest{number}@example.org"}, content_type=JSON)
        assert answer.status_code == 201
        assert owner.delete(f"{place}{answer.json()['id']}/").status_code == 204
    answer = owner.post(place, {"email": "one.more@example.org"}, content_type=JSON)
    assert answer.status_code == 429 and 3000 < int(answer["Retry-After"]) <= 86_400 // INVITATIONS.calls
    assert len(mail.outbox) == INVITATIONS.calls


def test_nobody_is_mail_bombed_by_many_accounts_or_by_sending_again(account, pro_account):
    answers = []
    for one in (account, pro_account):
        owner, place = member_of(one, "owner", one.name), f"/api/v1/accounts/{one.public_id}/invitations/"
        answers.append(owner.post(place, {"email": "Victim+a@example.org"}, content_type=JSON))
        for _ in range(MAILS_TO.calls):
            answers.append(owner.post(f"{place}{answers[0].json()['id']}/resend/"))
        answers.append(owner.post(place, {"email": "victim+b@EXAMPLE.org"}, content_type=JSON))
    assert len(mail.outbox) == MAILS_TO.calls
    assert {answer.status_code for answer in answers[MAILS_TO.calls :]} == {429, 404}


def test_redis_stores_no_address(account, redis_db):
    owner, place = member_of(account, "owner"), f"/api/v1/accounts/{account.public_id}/invitations/"
    owner.post(place, {"email": "victim@example.org"}, content_type=JSON)
    kept = [key for key in redis_db.keys() if "mails_to" in key]  # noqa: SIM118  Redis is no dict
    assert len(kept) == 1 and mailbox("VICTIM+x@example.org") in kept[0] and "victim" not in kept[0]
    assert redis_db.ttl(kept[0]) > 0
