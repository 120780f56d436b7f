"""One's sessions: seen, ended by hand, and ended when nobody uses them; and the mailbox of a service without mail."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as configured
from django.core.mail import EmailMessage
from django.test import Client

from console.signing import middleware
from runtime import mailbox
from store import names
from tests.accounts.forms import posted
from tests.console.signing.people import HERE, acts, is_signed_in, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = "/accounts/sessions/"


def test_sessions_are_listed_and_the_others_can_be_ended():
    mia()
    here, there = Client(**HERE), Client(REMOTE_ADDR="198.51.100.4")
    sign_in(here), sign_in(there)
    page = here.get(SESSIONS)
    assert "203.0.113.7" in page.content.decode() and "198.51.100.4" in page.content.decode()
    here.post(SESSIONS, posted(page))
    assert here.get(SESSIONS).status_code == 200
    assert there.get(SESSIONS).status_code == 302
    assert "198.51.100.4" not in here.get(SESSIONS).content.decode()


def test_nobody_sees_sessions_of_others():
    from accounts.models import User

    mia()
    sign_in(Client(REMOTE_ADDR="198.51.100.4"))
    eve = Client()
    eve.force_login(User.objects.create_user("eve"))
    assert "198.51.100.4" not in eve.get(SESSIONS).content.decode()


def test_signing_out_is_written_down():
    mia()
    client = Client(**HERE)
    sign_in(client)
    assert client.get("/logout/").status_code == 200 and is_signed_in(client)  # a link signs nobody out
    assert client.post("/logout/")["Location"] == "/login/"
    assert not is_signed_in(client)
    (row,) = acts("user.sign_out")
    assert (row.actor, row.address) == ("mia", "203.0.113.7")


@pytest.fixture
def clock(monkeypatch):
    """Minutes pass."""
    now = [time.time()]
    monkeypatch.setattr("console.signing.middleware.time.time", lambda: now[0])
    return lambda minutes: now.__setitem__(0, now[0] + 60 * minutes)


def test_a_session_that_nobody_uses_ends(settings, clock):
    settings.SESSION_IDLE_SECONDS = 30 * 60
    client = Client()
    client.force_login(mia())
    for _ in range(3):
        clock(20)
        assert client.get(SESSIONS).status_code == 200  # it is used
    clock(31)
    answer = client.get(SESSIONS)
    assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={SESSIONS}")
    assert "You were signed out" in client.get("/login/").content.decode()


def test_it_is_not_written_with_each_request(settings, clock, django_assert_max_num_queries):
    settings.SESSION_IDLE_SECONDS = 30 * 60
    client = Client()
    client.force_login(mia())
    client.get("/api/v1/me/")
    seen = client.session[middleware.SEEN]
    clock(0.5)
    client.get("/api/v1/me/")
    assert client.session[middleware.SEEN] == seen


def test_without_a_limit_it_stays():
    assert configured.SESSION_IDLE_SECONDS == 0
    client = Client()
    client.force_login(mia())
    assert client.get(SESSIONS).status_code == 200 and middleware.SEEN not in client.session


# The mailbox


@pytest.fixture
def operator(settings):
    settings.MAILBOX, settings.EMAIL_BACKEND = True, "runtime.mailbox.Mailbox"
    client = Client()
    client.force_login(mia(is_superuser=True, is_staff=True))
    return client


def test_mails_that_would_have_been_sent_are_shown_to_superusers(operator):
    Client().post("/accounts/password/reset/", {"email": "mia@example.org"})
    assert 'href="/mailbox/"' in operator.get("/admin/").content.decode()
    page = operator.get("/mailbox/")
    text = page.content.decode()
    assert "mia@example.org" in text and "/accounts/password/reset/key/" in text and "nothing was sent" in text
    assert "no-store" in page["Cache-Control"]


def test_nobody_else_reads_them(operator):
    from accounts.models import User

    clerk = Client()
    clerk.force_login(User.objects.create_user("clerk", is_staff=True))
    assert clerk.get("/mailbox/").status_code == 403
    assert Client().get("/mailbox/")["Location"] == "/login/?next=/mailbox/"


def test_with_a_mail_server_there_is_none(operator, settings):
    settings.MAILBOX = False
    assert operator.get("/mailbox/").status_code == 404


def test_few_mails_are_kept_and_none_for_long(operator, redis_db, monkeypatch):
    for number in range(mailbox.MOST_MAILS + 5):
        EmailMessage(f"mail {number}", "x" * 30_000, to=["a@example.org"]).send()
    kept = mailbox.kept_mails()
    assert [kept[0].subject, kept[-1].subject, len(kept)] == ["mail 54", "mail 5", 50]
    assert len(kept[0].text) == mailbox.LONGEST_TEXT
    assert 0 < redis_db.ttl(names.MAILBOX) <= 86_400

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) + timedelta(days=1, seconds=1)

    monkeypatch.setattr(mailbox, "datetime", Tomorrow)
    assert mailbox.kept_mails() == []


def test_while_redis_is_away_the_page_says_so(operator, redis_away):
    with redis_away():
        assert operator.get("/mailbox/").status_code == 503
