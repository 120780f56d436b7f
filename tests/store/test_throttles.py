"""lua/throttle.lua, through a real Redis."""

from __future__ import annotations

from dataclasses import replace
from time import time

import pytest

from store import names, throttles
from store.throttles import MICROSECONDS, Throttle, ThrottleUnavailable, mailbox, network_of

LOOKS = Throttle(name="looks", calls=3, seconds=3600, goes_on_without_redis=True)
KEY = names.throttle("looks", "ada")


@pytest.fixture
def later(redis_db):
    """Let time pass by moving the moment at which the throttle is empty; the test's own duration does not count."""

    def later(seconds: float) -> None:
        redis_db.set(KEY, int(redis_db.get(KEY)) - int(seconds * MICROSECONDS))

    return later


def test_so_many_calls_pass_at_once_and_then_one_by_one(later):
    assert [LOOKS.wait("ada") for _ in range(3)] == [0, 0, 0]
    assert 1190 < LOOKS.wait("ada") <= 1200
    later(1200)
    assert LOOKS.wait("ada") == 0
    assert LOOKS.wait("ada") > 0


def test_others_are_throttled_separately(redis_db):
    for _ in range(4):
        LOOKS.wait("ada")
    assert LOOKS.wait("bob") == 0


@pytest.mark.parametrize("ahead", [3601, 86400, 365 * 86400])
def test_filled_far_ahead_by_a_clock_that_jumped_it_waits_for_one_call_and_that_comes_true(redis_db, later, ahead):
    redis_db.set(KEY, int((time() + ahead) * MICROSECONDS))
    wait = LOOKS.wait("ada")
    assert 1190 < wait <= 1200
    later(wait)
    assert LOOKS.wait("ada") == 0
    assert LOOKS.wait("ada") > 0


def test_with_less_room_the_wait_comes_true(later):
    for _ in range(3):
        LOOKS.wait("ada")
    smaller = replace(LOOKS, seconds=60)
    wait = smaller.wait("ada")
    assert 0 < wait <= 20
    later(wait)
    assert smaller.wait("ada") == 0


def test_it_is_forgotten_a_second_after_it_is_empty(redis_db):
    LOOKS.wait("ada")
    assert 1190 < redis_db.ttl(KEY) <= 1201
    redis_db.set(KEY, int((time() + 86400) * MICROSECONDS))
    LOOKS.wait("ada")
    assert 3590 < redis_db.ttl(KEY) <= 3601


def test_a_wait_is_rounded_up_to_a_second(redis_db):
    brief = Throttle(name="looks", calls=100, seconds=10, goes_on_without_redis=True)
    assert [brief.wait("ada") for _ in range(100)].count(0) == 100
    redis_db.set(KEY, int((time() + 3600) * MICROSECONDS))  # however long this test took: it is full
    assert brief.wait("ada") == 1


def test_a_call_that_is_given_back_may_be_made_again(redis_db):
    for _ in range(3):
        LOOKS.wait("ada")
    LOOKS.give_back("ada")
    assert redis_db.ttl(KEY) > 0
    assert LOOKS.wait("ada") == 0
    assert LOOKS.wait("ada") > 0


def test_an_empty_throttle_gets_nothing_back(redis_db):
    """It would make room for more than it may let pass, in a key that never expires."""
    LOOKS.give_back("ada")
    assert not redis_db.exists(KEY)
    assert [LOOKS.wait("ada") > 0 for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("goes_on", [True, False])
def test_without_redis_a_throttle_goes_on_or_refuses_as_it_says(redis_away, goes_on):
    throttle = replace(LOOKS, goes_on_without_redis=goes_on)
    with redis_away():
        throttle.give_back("ada")  # there is nothing to say about it
        if goes_on:
            assert throttle.wait("ada") == 0
        else:
            with pytest.raises(ThrottleUnavailable):
                throttle.wait("ada")


ALL = [found for found in vars(throttles).values() if isinstance(found, Throttle)]


def test_no_two_throttles_share_a_count():
    assert len({throttle.name for throttle in ALL}) == len(ALL) > 10


def test_without_redis_nobody_signs_in_and_no_stranger_gets_mail():
    signing_in = {"sign_ins_from", "sign_ins_of", "second_factors_of", "codes_used", "forms_from", "resets_to"}
    refused = {throttle.name for throttle in ALL if not throttle.goes_on_without_redis}
    assert refused == signing_in | {"invitations", "mails_to"}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("nowhere", "nowhere"),
        ("", ""),
    ],
)
def test_an_address_counts_as_the_network_that_one_customer_has(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("email", "is_adas"),
    [
        ("ada@example.org", True),
        (" Ada@Example.ORG ", True),
        ("ada+1@example.org", True),
        ("ada+a+b@example.org", True),
        ("bob@example.org", False),
        ("ada@example.com", False),
        ("a+da@example.org", False),
    ],
)
def test_addresses_of_one_mailbox_are_one_and_cannot_be_read(email, is_adas):
    found = mailbox(email)
    assert (found == mailbox("ada@example.org")) is is_adas
    assert len(found) == 32 and "ada" not in found
