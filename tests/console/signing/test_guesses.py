"""Guesses are slowed down before anything is hashed, and written down without what was typed."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from threading import Event, Thread

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, PBKDF2PasswordHasher, check_password
from django.test import Client, override_settings

from accounts.models import AuditEvent
from console import first_operator
from console.signing import hashing
from console.signing.backend import Passwords, user_called
from console.signing.record import UNKNOWN
from store import names
from store.throttles import GUESSES, SIGN_INS_FROM, SIGN_INS_OF, Throttle
from tests.api.callers import fill
from tests.console.signing.people import HERE, PASSWORD, acts, is_signed_in, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hashes(monkeypatch):
    """How many passwords were hashed."""
    made, encode = [], MD5PasswordHasher.encode

    def counted(self, password, salt):
        made.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    return made


def wait_out(redis_db, *throttles: Throttle) -> None:
    """As if what was counted had drained."""
    for throttle in throttles:
        for key in redis_db.scan_iter(f"authsvc:throttle:{throttle.name}:*"):
            redis_db.delete(key)


@pytest.mark.parametrize("place", ["/login/", "/admin/login/?next=/admin/"])
def test_of_30_wrong_passwords_most_are_refused_unhashed_and_the_right_one_waits_its_turn(redis_db, hashes, place):
    mia(is_staff=True)
    client = Client(**HERE)
    answers = []
    for number in range(30):
        page = client.get(place, follow=True)
        hashes.clear()
        where = page.request["PATH_INFO"]
        assert where == "/login/"  # also the admin's
        answers.append(client.post(where, {"username": "mia", "password": f"wrong {number}"}))
        assert len(hashes) == (1 if answers[-1].status_code == 200 else 0)
    assert [answer.status_code for answer in answers] == [200] * SIGN_INS_OF.calls + [429] * 20
    assert 1 <= int(answers[-1]["Retry-After"]) <= SIGN_INS_OF.seconds
    assert "Too many attempts" in answers[-1].content.decode() and "no-store" in answers[-1]["Cache-Control"]
    assert sign_in(client).status_code == 429 and not is_signed_in(client)
    wait_out(redis_db, SIGN_INS_OF)
    assert sign_in(client).status_code == 302 and is_signed_in(client)
    assert len(acts("user.sign_in_failed")) == SIGN_INS_OF.calls
    (told,) = acts("user.throttled")
    assert (told.actor, told.address, told.after) == ("mia", "203.0.113.7", {"throttle": "sign_ins_of"})
    assert acts("user.sign_in")[0].after == {"how": ["password"]}


def test_a_form_sent_to_the_admin_s_own_login_checks_nothing(hashes):
    mia(is_staff=True)
    hashes.clear()
    answer = Client().post("/admin/login/", {"username": "mia", "password": "x"})
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=%2Fadmin%2Flogin%2F")
    assert hashes == []


def test_a_network_may_not_go_through_all_users(redis_db):
    answers = [sign_in(Client(**HERE), f"user{number}").status_code for number in range(30)]
    assert answers == [200] * SIGN_INS_FROM.calls + [429] * 10
    assert sign_in(Client(REMOTE_ADDR="203.0.113.8"), "user99").status_code == 200


def test_a_network_that_may_try_no_more_locks_nobody_out(redis_db):
    mia()
    fill(redis_db, SIGN_INS_FROM, "203.0.113.7")
    assert {sign_in(Client(**HERE)).status_code for _ in range(SIGN_INS_OF.calls + 1)} == {429}
    assert sign_in(Client(REMOTE_ADDR="203.0.113.8")).status_code == 302


def test_what_is_refused_for_a_user_costs_the_network_nothing(redis_db):
    fill(redis_db, SIGN_INS_OF, str(mia().pk))
    assert {sign_in(Client(**HERE)).status_code for _ in range(SIGN_INS_FROM.calls + 1)} == {429}
    assert sign_in(Client(**HERE), "somebody else").status_code == 200


def test_an_ipv6_customer_is_one_network(redis_db):
    fill(redis_db, SIGN_INS_FROM, "2001:db8:1:2::/64")
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:2:aaaa::9")).status_code == 429
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:3::9")).status_code == 200


def test_the_address_is_the_client_s_behind_a_trusted_proxy(redis_db, settings):
    from runtime.networks import read_network

    settings.TRUSTED_PROXIES = (read_network("10.0.0.0/8"),)
    fill(redis_db, SIGN_INS_FROM, "198.51.100.9")
    answers = [
        sign_in(Client(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=client)).status_code
        for client in ("198.51.100.9", "198.51.100.10")
    ]
    assert answers == [429, 200]


@pytest.mark.parametrize("typed", ["mia", "MIA", " mia ", "mia@example.org", "Mia@Example.org"])
def test_whatever_a_user_is_called_the_guesses_count_together(redis_db, typed):
    from allauth.account.models import EmailAddress

    user = mia()
    EmailAddress.objects.create(user=user, email="mia@example.org", verified=True, primary=True)
    fill(redis_db, SIGN_INS_OF, str(user.pk))
    assert sign_in(Client(), typed).status_code == 429


def test_only_a_confirmed_address_names_its_user():
    from allauth.account.models import EmailAddress

    address = EmailAddress.objects.create(user=mia(), email="other@example.org", verified=False)
    assert user_called("other@example.org") is None  # also when the address alone would end in "confirm it first"
    sign_in(client := Client(), "other@example.org")
    assert not is_signed_in(client)
    EmailAddress.objects.filter(pk=address.pk).update(verified=True)
    sign_in(client, "other@example.org")
    assert is_signed_in(client)


def test_the_right_password_of_somebody_who_left_is_wrong():
    user = mia(is_active=False)
    assert Passwords().authenticate(None, "mia", PASSWORD) is None
    user.is_active = True
    user.save()
    assert Passwords().authenticate(None, "mia", PASSWORD) == user


def test_a_user_who_is_not_there_is_slowed_down_alike(redis_db, hashes):
    hashes.clear()
    answers = [sign_in(Client(**HERE), "nobody", "hunter2").status_code for _ in range(SIGN_INS_OF.calls + 1)]
    assert answers == [200] * SIGN_INS_OF.calls + [429]
    assert hashes == ["hunter2"] * SIGN_INS_OF.calls  # each costs what a known user's does


@pytest.mark.parametrize("typed", ["NoBody", " nobody ", "\uff4eobody"])
def test_whatever_a_user_who_is_not_there_is_called_the_guesses_count_together(redis_db, typed):
    """As they do for one who is: otherwise their number would tell the two apart."""
    for _ in range(SIGN_INS_OF.calls):
        assert sign_in(Client(**HERE), "nobody").status_code == 200
    assert sign_in(Client(**HERE), typed).status_code == 429


def test_known_and_unknown_are_told_the_same():
    mia()
    pages = [sign_in(Client(), name, "wrong").content.decode() for name in ("mia", "eve")]
    assert "are not correct" in pages[0]
    alike = [re.sub(r'value="\w{64}"', "", page).replace('value="mia"', 'value="eve"') for page in pages]
    assert alike[0] == alike[1]


def test_who_signs_in_often_is_not_held_up(redis_db):
    mia()
    assert {sign_in(Client(**HERE)).status_code for _ in range(30)} == {302}


def test_a_right_password_in_between_gives_no_wrong_one_back(redis_db):
    mia()
    for _ in range(SIGN_INS_OF.calls - 1):
        sign_in(Client(**HERE), password="wrong")
    assert sign_in(Client(**HERE)).status_code == 302
    assert [sign_in(Client(**HERE), password="wrong").status_code for _ in range(2)] == [200, 429]


def test_what_is_typed_as_a_name_is_written_nowhere(redis_db):
    mia()
    sign_in(Client(), "my secret pass phrase", "mia")
    sign_in(Client(), "mia", "hunter2hunter2")
    rows = json.dumps(list(AuditEvent.objects.values("actor", "subject", "after", "address")))
    assert "pass phrase" not in rows and "hunter2" not in rows
    assert [row.actor for row in acts("user.sign_in_failed")] == [UNKNOWN, "mia"]
    assert not [key for key in redis_db.keys() if "phrase" in key]  # noqa: SIM118  Redis is no dict


def test_while_redis_is_away_nobody_signs_in_and_nothing_is_hashed(redis_away, hashes):
    mia()
    client = Client(raise_request_exception=False)
    hashes.clear()
    with redis_away():
        answer = sign_in(client)
    assert (answer.status_code, answer["Retry-After"], hashes) == (503, "5", [])
    assert "not possible right now" in answer.content.decode()
    assert sign_in(client).status_code == 302


def test_who_is_signed_in_stays_so_without_redis(redis_away):
    mia()
    client = Client()
    sign_in(client)
    with redis_away():
        assert client.get("/accounts/password/change/").status_code == 200


LINKS = [
    "/first-operator/x/",
    "/first-operator/",  # without a link
    "/invitations/x/",
    "/accounts/password/reset/key/1-x/",
    "/accounts/confirm-email/x/",
]


@pytest.mark.parametrize("path", LINKS)
def test_links_that_open_nothing_are_counted(redis_db, path):
    client = Client(**HERE)
    assert client.get(path).status_code in (200, 404, 410)
    assert redis_db.keys(names.throttle(GUESSES.name, "*")) == [names.throttle(GUESSES.name, "203.0.113.7")]
    fill(redis_db, GUESSES, "203.0.113.7")
    assert client.get(path).status_code == 429
    assert Client(REMOTE_ADDR="203.0.113.8").get(path).status_code != 429
    (told,) = acts("user.throttled")
    assert told.after == {"throttle": "guesses"}


def test_a_link_that_works_is_free_however_often_it_is_opened(redis_db):
    client = Client(**HERE)
    fill(redis_db, GUESSES, "203.0.113.7")
    link = first_operator.new_link()
    assert link is not None
    path = link.removeprefix("http://127.0.0.1:8081")
    assert [client.get(path, follow=True).status_code for _ in range(3)] == [200] * 3


def test_wrong_links_are_told_as_such_without_redis(redis_away):
    with redis_away():
        assert Client(**HERE).get("/invitations/x/").status_code == 410


def test_a_guess_without_a_token_is_counted_too(redis_db, hashes):
    client = Client(enforce_csrf_checks=True, **HERE)
    assert sign_in(client).status_code == 403
    assert redis_db.keys(names.throttle(GUESSES.name, "*"))
    fill(redis_db, GUESSES, "203.0.113.7")
    answer = sign_in(client)
    assert (answer.status_code, "Retry-After" in answer, hashes) == (429, True, [])


@pytest.mark.parametrize("path", ["/first-operator/", "/invitations/x/", "/admin/password_change/"])
def test_forms_that_hash_a_password_are_counted_too(redis_db, path):
    client = Client(**HERE)
    if path.startswith("/admin"):
        client.force_login(mia(is_staff=True))
    fill(redis_db, SIGN_INS_FROM, "203.0.113.7")
    assert client.post(path).status_code == 429
    assert client.get(path).status_code != 429


def test_the_old_password_is_no_place_to_guess_at(redis_db):
    client = Client(**HERE)
    client.force_login(mia())
    new = {"password1": "another horse 12", "password2": "another horse 12"}
    answers = [
        client.post("/accounts/password/change/", {"oldpassword": "wrong", **new}).status_code for _ in range(12)
    ]
    assert answers == [200] * SIGN_INS_OF.calls + [429] * 2
    assert [row.after for row in acts("user.sign_in_failed")] == [{"how": "change of the password"}] * SIGN_INS_OF.calls


def test_the_right_old_password_takes_no_try(redis_db):
    client = Client(**HERE)
    client.force_login(mia())
    passwords = [PASSWORD, *(f"another horse {number}" for number in range(SIGN_INS_OF.calls + 1))]
    for old, new in pairwise(passwords):
        form = {"oldpassword": old, "password1": new, "password2": new}
        assert client.post("/accounts/password/change/", form).status_code == 302


def test_a_sign_up_costs_the_same_whether_or_not_the_address_is_known(redis_db, settings, hashes):
    settings.SIGN_UP = "open"
    mia()
    cost = []
    for email in ("mia@example.org", "eve@example.org"):
        hashes.clear()
        assert Client(**HERE).post("/accounts/signup/", {"email": email, "password1": PASSWORD}).status_code == 302
        cost.append(len(hashes))
    assert cost == [1, 1]


# Few hashes at once


def test_a_password_waits_until_another_is_hashed(monkeypatch):
    began, may_end = Event(), Event()

    def slow(self, password, salt, iterations=None):
        began.set()
        assert may_end.wait(30)
        return "hash"

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", slow)
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.01)
    first = Thread(target=hashing.InTurn().encode, args=("a", "salt"))
    first.start()
    assert began.wait(30)
    with pytest.raises(hashing.TooManyHashes):
        hashing.InTurn().encode("b", "salt")
    may_end.set()
    first.join()
    assert hashing.InTurn().encode("c", "salt") == "hash"


def test_who_gave_up_waiting_leaves_the_place_to_others(monkeypatch):
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.0)
    with hashing.slot():
        for _ in range(3):
            with pytest.raises(hashing.TooManyHashes), hashing.slot():
                pass
    places = hashing.AT_ONCE + hashing.MOST_WAITING
    assert all(hashing._queue.acquire(blocking=False) for _ in range(places))
    hashing._queue.release(places)


def test_too_many_that_wait_are_told_so(monkeypatch, settings):
    mia()

    def full(*_):
        raise hashing.TooManyHashes

    monkeypatch.setattr(MD5PasswordHasher, "verify", full)
    answer = sign_in(Client(raise_request_exception=False))
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_passwords_of_before_are_still_checked_in_turn():
    old = PBKDF2PasswordHasher().encode("x", "salt", 1000)
    with override_settings(PASSWORD_HASHERS=["console.signing.hashing.InTurn"]):
        assert check_password("x", old) and not check_password("y", old)
