"""One's sessions: seen, ended by hand, and ended when nobody uses them; and the mailbox of a service without mail."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings as configured
from django.core.mail import EmailMessage
from django.test import Client

from accounts.models import SignInPlace, User
from console.signing import middleware
from console.signing.devices import device_of, place_of
from runtime import mailbox
from runtime.networks import surroundings
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


def test_a_client_without_an_address_signs_in(redis_db):
    """Behind a UNIX socket there is none."""
    mia()
    sign_in(client := Client(REMOTE_ADDR=""))
    assert is_signed_in(client) and client.get(SESSIONS).status_code == 200


def test_signing_in_notes_where_from():
    user = mia()
    sign_in(Client(**HERE), HTTP_USER_AGENT="Mozilla/5.0 Firefox/140.0")
    place = SignInPlace.objects.get(user=user)
    assert (place.network, place.browser) == (surroundings("203.0.113.7"), "Firefox")


def test_one_session_is_ended_and_the_others_stay():
    mia()
    here, there, elsewhere = Client(**HERE), Client(REMOTE_ADDR="198.51.100.4"), Client(REMOTE_ADDR="192.0.2.9")
    for client in (here, there, elsewhere):
        sign_in(client)
    (row,) = UserSession.objects.filter(ip="198.51.100.4")
    assert here.post(f"{SESSIONS}{row.pk}/end/")["Location"] == SESSIONS
    assert [is_signed_in(client) for client in (here, there, elsewhere)] == [True, False, True]
    (told,) = acts("user.session_end")
    assert told.after is not None
    assert (told.actor, told.address, told.after["address"]) == ("mia", "203.0.113.7", "198.51.100.4")
    again = here.post(f"{SESSIONS}{row.pk}/end/", follow=True)
    assert "has ended already" in again.content.decode()


def test_nobody_ends_a_session_of_others_or_the_one_they_are_in():
    mia()
    here = Client(**HERE)
    sign_in(here)
    (row,) = UserSession.objects.all()
    eve = Client()
    eve.force_login(User.objects.create_user("eve"))
    eve.post(f"{SESSIONS}{row.pk}/end/")
    here.post(f"{SESSIONS}{row.pk}/end/")
    assert is_signed_in(here) and not acts("user.session_end")
    assert Client().post(f"{SESSIONS}{row.pk}/end/")["Location"].startswith("/login/")
    assert here.get(f"{SESSIONS}{row.pk}/end/").status_code == 405


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0 Mobile"
)


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        (f"{CHROME} Edg/141.0.0.0", "Edge on Windows"),
        (f"{CHROME} OPR/120.0", "Opera on Windows"),
        (SAFARI, "Safari on macOS"),
        (PHONE, "Chrome on iPhone"),
        (CHROME.replace("Windows NT 10.0; Win64; x64", "Linux; Android 15; Pixel 9"), "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("", "An unknown device"),
        ("<script>", "An unknown device"),
    ],
)
def test_a_device_is_called_by_its_browser_and_system(user_agent, device):
    assert device_of(user_agent) == device


@pytest.mark.parametrize(
    ("address", "here", "place"),
    [
        ("203.0.113.7", "203.0.113.7", "Your current address"),
        ("203.0.113.200", "203.0.113.7", "Your current network"),
        ("203.0.114.7", "203.0.113.7", "A different network"),
        ("2001:db8::1", "2001:db8::ffff:1", "Your current network"),
        ("2001:db8:0:1::1", "2001:db8::1", "A different network"),
        ("203.0.113.7", "2001:db8::1", "A different network"),
        ("203.0.113.7", "", "A different network"),
    ],
)
def test_a_place_is_told_by_its_network(address, here, place):
    assert place_of(address, here) == place


def test_the_page_tells_devices_and_places_in_words():
    mia()
    here, there = Client(**HERE, HTTP_USER_AGENT=FIREFOX), Client(REMOTE_ADDR="203.0.113.9", HTTP_USER_AGENT=PHONE)
    sign_in(here)
    sign_in(there)
    page = here.get(SESSIONS).content.decode()
    assert page.index("Firefox on Linux") < page.index("Chrome on iPhone")
    assert "This session" in page and "Your current network" in page and page.count("/end/") == 1


def test_nobody_sees_sessions_of_others():
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


def test_a_session_lasts_as_long_as_it_may(settings, clock):
    settings.SESSION_IDLE_SECONDS = 30 * 60
    client = Client()
    client.force_login(mia())
    client.get(SESSIONS)
    clock(30)
    assert client.get(SESSIONS).status_code == 200


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
