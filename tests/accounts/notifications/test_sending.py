"""Mails through a real mail server: each once, few at a time, and never in the way of the ledger."""

from __future__ import annotations

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.ledger_worker import Worker
from accounts.models import ApiKey, KeySecret, Notification
from accounts.notifications import postman as rounds
from accounts.notifications import sending
from accounts.notifications.finding import tell_of_expiring_keys, tell_of_quotas, tell_of_unused_keys
from accounts.notifications.places import note_sign_in
from accounts.notifications.recipients import choose_topics
from accounts.notifications.sending import MOST_MAILS, WAITS, send_waiting
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key
from accounts.services.keys import issue_key, pause_key, revoke_key
from accounts.services.roles import set_role
from runtime.mail import server_at
from runtime.mailbox import kept_mails
from store.throttles import NOTIFICATIONS
from tests.accounts.notifications.conftest import somebody, subjects
from tests.accounts.notifications.test_finding import key_of, use
from tests.api.callers import fill
from tests.conftest import ACTOR
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Kind = Notification.Kind


def outcomes() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("outcome", flat=True))


def due_again() -> None:
    Notification.objects.filter(ended_at=None).update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_round_finds_and_sends_and_the_next_one_has_nothing_left(account, ada, mails, postman):
    key = key_of(account, left=timedelta(days=3))
    assert (postman.go(), postman.go()) == (2, 0)
    assert sorted(subjects(mails)) == ["An API key expires within 7 days", "An API key has not been used for 90 days"]
    text = "\n".join(mails[0])
    assert "To: ada@example.org" in text and f"/console/{account.public_id}/keys/{key.public_id}/" in text
    assert "http://127.0.0.1:8081/accounts/notifications/" in text and outcomes() == ["sent", "sent"]


def test_what_waits_together_is_one_mail(account, ada, mails, postman):
    names = ["one", "two", "www.example.org"]
    for name in names:
        issue_key(account, name=name, actor=ACTOR, expires_at=timezone.now() + timedelta(days=3))
    models_base(ApiKey).update(created_at=timezone.now() - timedelta(days=30))
    assert postman.go() == 1
    assert subjects(mails) == ["3 API keys expire within 7 days"]
    text = "\n".join(mails[0])
    assert '"one"' in text and '"two"' in text and '"www[.]example[.]org"' in text


def test_a_quota_is_told_after_its_usage_was_copied(account, ada, mails, redis_db):
    worker = Worker()
    use(redis_db, account, 800)
    worker.postman.note({account.public_id})
    assert worker.postman.go() == 1
    text = "\n".join(mails[0])
    assert subjects(mails) == ["80% of a quota is used"] and "At least 80% of this quota" in text
    assert "1,000 units a month, to all models together; renews" in text
    use(redis_db, account, 1000)
    worker.postman.note({account.public_id})
    assert worker.postman.go() == 1 and subjects(mails)[1] == "A quota is used up: calls are refused"


def test_a_management_key_and_a_sign_in_are_told_at_once(account, ada, mails, postman):
    make_management_key(account, name="ci", scopes=["keys:read"], actor=Actor("olga"))
    note_sign_in(ada, "203.0.113.7", "Firefox/1")
    note_sign_in(ada, "198.51.100.9", "Firefox/1")
    assert postman.go() == 2
    assert set(subjects(mails)) == {"A new management key was created", "A sign-in from a new place at 127.0.0.1"}
    text = "\n".join(line for mail in mails for line in mail)
    assert '"ci"' in text and 'created by "olga"' in text and "Firefox at 198.51.100.9" in text


def test_what_is_no_longer_so_is_not_told(account, ada, mails, postman):
    keys = [key_of(account, left=timedelta(days=3)) for _ in range(4)]
    tell_of_expiring_keys(timezone.now())
    revoke_key(keys[0], actor=ACTOR)
    pause_key(keys[1], actor=ACTOR)
    models_base(ApiKey).filter(pk=keys[2].pk).update(expires_at=timezone.now() + timedelta(days=30))
    send_waiting()
    assert subjects(mails) == ["An API key expires within 7 days"]
    assert outcomes() == ["outdated", "outdated", "outdated", "sent"]


@pytest.mark.parametrize("change", ["leaves", "switches it off", "is deactivated"])
def test_who_does_not_want_it_any_more_is_not_told(account, ada, mails, change):
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    if change == "leaves":
        account.memberships.all().delete()
    elif change == "switches it off":
        choose_topics(ada, [])
    else:
        ada.is_active = False
        ada.save()
    assert send_waiting() == 0 and mails == [] and outcomes() == ["outdated"]


def test_what_waited_for_a_mail_server_for_a_week_is_old_news(account, ada, mails):
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    Notification.objects.update(created_at=timezone.now() - sending.OLD_NEWS)
    assert send_waiting() == 0 and outcomes() == ["outdated"]


def test_of_two_workers_one_sends(account, ada, mails):
    people = [ada, *(somebody(f"p{number}", account) for number in range(5))]
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)

    def work() -> int:
        try:
            return send_waiting()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        sent = [thread.result() for thread in [threads.submit(work) for _ in range(3)]]
    assert sum(sent) == len(people) == len(mails) and set(outcomes()) == {"sent"}


def test_two_workers_that_find_the_same_leave_it_once(account, ada):
    key_of(account, left=timedelta(days=3))
    barrier = threading.Barrier(2)

    def find() -> None:
        try:
            barrier.wait(30)
            tell_of_expiring_keys(timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        for thread in [threads.submit(find) for _ in range(2)]:
            thread.result()
    assert Notification.objects.count() == 1


def test_a_server_that_fails_is_tried_again_with_growing_pauses_and_then_given_up(
    account, ada, settings, caplog, postman
):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = server_at(f"smtp+plain://127.0.0.1:{port}")
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = server.backend, server.host, server.port
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    waits = []
    for _ in WAITS:
        assert send_waiting() == 0
        row = Notification.objects.get()
        assert row.due_at is not None and row.outcome == ""
        waits.append(row.due_at - timezone.now())
        due_again()
    assert all(
        timedelta(seconds=-5) < expected - found < timedelta(seconds=60)
        for expected, found in zip(WAITS, waits, strict=True)
    )
    with caplog.at_level(logging.ERROR):
        send_waiting()
    assert outcomes() == ["failed"] and "given up" in caplog.text and "ada@" not in caplog.text


def test_a_failing_server_is_asked_once_a_round_and_mails_go_out_when_it_is_back(account, ada, mails, monkeypatch):
    for number in range(3):
        make_management_key(account, name=f"k{number}", scopes=["keys:read"], actor=ACTOR)
    note_sign_in(ada, "203.0.113.7", "Firefox/1")
    note_sign_in(ada, "198.51.100.9", "Firefox/1")
    tries = []
    with monkeypatch.context() as broken:

        def fail(message):
            tries.append(message)
            raise TimeoutError

        broken.setattr("django.core.mail.EmailMessage.send", fail)
        send_waiting()
    assert len(tries) == 1
    due_again()
    assert send_waiting() == 2 and set(outcomes()) == {"sent"}


def test_a_round_sends_a_bounded_number(account, mails, monkeypatch):
    monkeypatch.setattr(sending, "MOST_MAILS", 2)
    for number in range(3):
        somebody(f"p{number}", account)
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    assert (send_waiting(), send_waiting()) == (2, 1)
    assert MOST_MAILS == 20


def test_a_mail_is_about_one_account(account, pro_account, ada, mails):
    set_role(pro_account, ada, "owner", actor=ACTOR)
    for one in (account, pro_account):
        make_management_key(one, name=f"of-{one.name}", scopes=["keys:read"], actor=ACTOR)
    assert send_waiting() == 2
    for mail, (ours, other) in zip(mails, [(account, pro_account), (pro_account, account)], strict=True):
        text = "\n".join(mail)
        assert f"of-{ours.name}" in text and f"of-{other.name}" not in text


def test_a_worker_that_is_stopped_begins_no_further_mail(account, mails):
    for number in range(3):
        somebody(f"p{number}", account)
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    asked = iter([False, True])
    assert send_waiting(lambda: next(asked)) == 1
    assert len(mails) == 1


def test_an_account_gets_a_bounded_number_a_day_and_the_rest_later(account, ada, mails, redis_db):
    for _ in range(NOTIFICATIONS.calls):
        assert NOTIFICATIONS.wait(account.public_id) == 0
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    assert send_waiting() == 0
    row = Notification.objects.get()
    assert row.due_at is not None and row.due_at > timezone.now() and row.tries == 0


def test_who_got_too_many_about_sign_ins_keeps_nobody_else_from_theirs(ada, mails, redis_db):
    for user in (ada, somebody("bob")):
        note_sign_in(user, "203.0.113.7", "Firefox/1")
        note_sign_in(user, "198.51.100.9", "Firefox/1")
    fill(redis_db, NOTIFICATIONS, f"user {ada.pk}")
    assert send_waiting() == 1 and "To: bob@example.org" in mails[0]


def test_a_mail_that_fails_is_none_of_the_day(account, ada, monkeypatch, redis_db):
    def fail(_):
        raise TimeoutError

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    for _ in range(3):
        send_waiting()
        due_again()
    assert {NOTIFICATIONS.wait(account.public_id) for _ in range(NOTIFICATIONS.calls)} == {0}


def test_what_is_told_in_one_mail_is_given_up_together(account, ada, monkeypatch):
    def fail(_):
        raise TimeoutError

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    for name in ("one", "two"):
        make_management_key(account, name=name, scopes=["keys:read"], actor=ACTOR)
    Notification.objects.filter(pk=Notification.objects.latest("pk").pk).update(tries=3)
    send_waiting()
    assert set(Notification.objects.values_list("tries", flat=True)) == {4}


def test_a_quota_that_was_renewed_meanwhile_is_not_told(account, ada, mails, redis_db):
    use(redis_db, account, 800)
    tell_of_quotas([account.public_id], timezone.now())
    row = Notification.objects.get()
    row.details["renews"] = int(timezone.now().timestamp()) - 1
    row.save()
    assert send_waiting() == 0 and outcomes() == ["outdated"]


def test_without_a_mail_server_they_are_in_the_mailbox(account, ada, settings, postman):
    settings.EMAIL_BACKEND = "runtime.mailbox.Mailbox"
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    assert postman.go() == 1
    assert [(mail.to, mail.subject) for mail in kept_mails()] == [
        ("ada@example.org", "A new management key was created")
    ]


def test_a_silent_mail_server_does_not_hold_up_the_worker(account, ada, issued, settings, monkeypatch, redis_db):
    monkeypatch.setattr(rounds, "EVERY_SECONDS", 0.0)
    worker = Worker()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = server_at(f"smtp+plain://127.0.0.1:{silent.getsockname()[1]}")
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = server.backend, server.host, server.port
        settings.EMAIL_TIMEOUT = 60
        make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
        worker.turn()
        silent.settimeout(60)
        held, _ = silent.accept()  # the postman waits for a greeting that does not come
        use(redis_db, account, 1)
        turns = [worker.turn() for _ in range(3)]
        assert len(turns) == 3 and worker.postman._round is not None and worker.postman._round.is_alive()
        held.close()
        wait_until(lambda: Notification.objects.get().tries == 1, "the failure to be noted")
        worker.postman._round.join(60)


def test_a_fault_in_one_mail_keeps_none_of_the_others(account, ada, mails, monkeypatch):
    note_sign_in(ada, "203.0.113.7", "Firefox/1")
    note_sign_in(ada, "198.51.100.9", "Firefox/1")
    Notification.objects.update(details={})
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    send_waiting()
    assert send_waiting() == 1 and subjects(mails) == ["A new management key was created"]


def test_a_mail_that_a_worker_died_with_is_sent_after_its_claim(account, ada, mails, monkeypatch):
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    assert sending._claim() is not None and sending._claim() is None
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.now(UTC) + sending.CLAIMED_FOR)
    assert send_waiting() == 1


def test_a_mail_that_the_server_refuses_takes_nothing_from_what_an_account_may_be_sent(
    account, ada, mails, monkeypatch, redis_db
):
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", lambda _: 1 / 0)
        for _ in range(NOTIFICATIONS.calls + 1):
            send_waiting()
            Notification.objects.update(tries=0)
            due_again()
    assert send_waiting() == 1


def test_of_a_key_that_was_used_at_the_moment_since_which_it_is_unused_is_told(account, ada, mails):
    """That moment is its last use."""
    key = key_of(account, age=timedelta(days=200))
    moment = timezone.now() - timedelta(days=91)
    models_base(KeySecret).filter(key=key).update(last_used_at=moment)
    tell_of_unused_keys(timezone.now())
    assert Notification.objects.get().moment == moment
    assert send_waiting() == 1


def test_one_person_is_told_of_an_account_what_concerns_them_alone(account, ada, mails):
    bob = somebody("bob", account)
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    claimed = [letter for _ in range(3) if (letter := sending._claim())]
    assert {letter.user for letter in claimed} == {ada, bob}
    assert [{row.user for row in letter.rows} == {letter.user} for letter in claimed] == [True, True]


# Rounds


@pytest.fixture
def looks(monkeypatch) -> list[object]:
    """What rounds look for, instead of looking."""
    looks: list[object] = []
    monkeypatch.setattr(rounds, "tell_of_quotas", lambda accounts, _now: looks.append(set(accounts)))
    monkeypatch.setattr(rounds, "tell_of_expiring_keys", lambda _now: looks.append("expiring"))
    monkeypatch.setattr(rounds, "tell_of_unused_keys", lambda _now: looks.append("unused"))
    return looks


def test_keys_that_expire_are_looked_for_each_hour_and_idle_ones_each_day(db, looks, postman, monkeypatch):
    start, found = monotonic(), []
    for hours in (0, 0.99, 1, 23.99, 24):
        monkeypatch.setattr(rounds, "monotonic", lambda hours=hours: start + hours * 3600)
        postman.go()
        found.append([look for look in looks if isinstance(look, str)])
        looks.clear()
    assert found == [["expiring", "unused"], [], ["expiring"], ["expiring"], ["unused"]]


def test_an_accounts_quotas_are_looked_at_once_for_what_it_used(db, looks, postman):
    postman.note(["acme"])
    postman.go()
    postman.go()
    assert [look for look in looks if isinstance(look, set)] == [{"acme"}, set()]


@pytest.mark.parametrize("error", [ValueError, DatabaseError])
def test_a_round_that_fails_ends_with_a_line_in_the_log_and_keeps_no_connection(postman, monkeypatch, caplog, error):
    def fail(*_):
        connection.ensure_connection()
        raise error

    monkeypatch.setattr(rounds, "tell_of_quotas", fail)
    postman._go()
    assert connection.connection is None and error.__name__ in caplog.text


def test_no_round_begins_before_the_last_one_is_over(postman, looks, monkeypatch):
    monkeypatch.setattr(rounds, "EVERY_SECONDS", 0.0)
    over = threading.Event()
    postman._due, postman._round = float("-inf"), threading.Thread(target=over.wait, daemon=True)
    postman._round.start()
    last = postman._round
    postman.go_if_due()
    assert postman._round is last and looks == []
    over.set()
    last.join(60)
