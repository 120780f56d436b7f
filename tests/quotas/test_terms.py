"""Which limits hold: the plan's with the account's overrides, narrowed by the key's own and never widened."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from quotas import rules
from quotas.limits import SCOPES, SMOOTHED, UNITS, WINDOWS, Limit
from quotas.terms import limits_in_force

MINUTE = Limit(name="minute", scope="key", amount=60, window="minute", burst=10)
MONTH = Limit(name="month", scope="account", amount=1000, window="month", unit="units")


@st.composite
def a_limit(draw, scopes=SCOPES, shadow=None):
    window = draw(st.sampled_from(WINDOWS))
    amounts = st.integers(1, 50)
    return Limit(
        name=draw(st.sampled_from(["a", "b", "c", "key-a", "key-key-a"])),
        scope=draw(st.sampled_from(scopes)),
        amount=draw(amounts),
        window=window,
        unit=draw(st.sampled_from(UNITS)),
        model=draw(st.sampled_from(["*", "sm"])),
        burst=draw(st.none() | amounts) if window in SMOOTHED else None,
        shadow=draw(st.booleans()) if shadow is None else shadow,
        since=draw(st.integers(0, 9)),
    )


def _without_doubles(found: list[Limit]) -> list[Limit]:
    kept: list[Limit] = []
    for limit in found:
        if not list(rules.doubles([*kept, limit])):
            kept.append(limit)
    return kept


plans = st.lists(a_limit(), max_size=6).map(_without_doubles)
narrowings = st.lists(a_limit(scopes=("key",), shadow=False), max_size=6).map(_without_doubles)


def override(amount, burst=None):
    return SimpleNamespace(amount=amount, burst=burst)


def force(plan, own=(), *, overrides=None, since=0):
    return limits_in_force(plan, overrides or {}, since, own)


@given(plans, narrowings)
def test_a_key_is_never_let_do_more_than_its_plan(plan, own):
    found = force(plan, own)
    for limit in plan:
        (same,) = [each for each in found if each.identity == limit.identity]
        if not limit.shadow:
            assert same.amount <= limit.amount
            assert same.room <= limit.room
            assert not same.shadow


@given(plans, narrowings)
def test_a_key_never_gets_more_than_its_own_limits(plan, own):
    found = force(plan, own)
    for limit in own:
        (same,) = [each for each in found if each.identity == limit.identity]
        assert same.amount <= limit.amount and same.room <= limit.room
        assert not same.shadow


@given(plans, narrowings)
def test_what_holds_has_one_name_and_one_counter_each(plan, own):
    found = force(plan, own)
    assert not list(rules.doubles(found))
    assert {limit.identity for limit in found} == {limit.identity for limit in [*plan, *own]}


@given(plans, narrowings)
def test_the_plans_limits_keep_their_names(plan, own):
    assert [limit.name for limit in force(plan, own)][: len(plan)] == [limit.name for limit in plan]


@given(plans, narrowings)
def test_no_quota_gets_a_burst(plan, own):
    assert all(limit.burst is None for limit in force(plan, own) if not limit.is_smoothed)


def test_without_anything_else_the_plan_holds():
    assert force([MINUTE, MONTH]) == (MINUTE, MONTH)


def test_an_override_changes_the_limit_of_its_name_alone():
    assert force([MINUTE, MONTH], overrides={"month": override(5)}) == (MINUTE, replace(MONTH, amount=5))


def test_an_override_without_a_burst_keeps_the_plans():
    assert force([MINUTE], overrides={"minute": override(500)}) == (replace(MINUTE, amount=500),)
    assert force([MINUTE], overrides={"minute": override(500, 90)}) == (replace(MINUTE, amount=500, burst=90),)


def test_an_override_of_a_limit_that_the_plan_has_not_does_nothing():
    assert force([MINUTE], overrides={"other": override(1)}) == (MINUTE,)


def test_a_key_narrows_what_the_override_left():
    own = Limit(name="mine", scope="key", amount=100, window="minute", burst=3)
    (found,) = force([MINUTE], [own], overrides={"minute": override(500, 90)})
    assert (found.name, found.amount, found.burst) == ("minute", 100, 3)


def test_a_wider_limit_of_the_key_changes_nothing():
    own = Limit(name="mine", scope="key", amount=6000, window="minute", burst=6000)
    assert force([MINUTE], [own]) == (MINUTE,)


def test_a_smaller_amount_does_not_widen_the_burst():
    own = Limit(name="mine", scope="key", amount=50, window="minute")
    (found,) = force([MINUTE], [own])
    assert (found.amount, found.burst) == (50, 10)


def test_a_burst_is_narrowed_where_the_plan_leaves_it_out():
    own = Limit(name="mine", scope="key", amount=70, window="minute", burst=7)
    (found,) = force([replace(MINUTE, burst=None)], [own])
    assert (found.amount, found.burst) == (60, 7)


def test_the_accounts_limit_and_the_keys_own_count_apart():
    own = Limit(name="mine", scope="key", amount=1, window="month", unit="units")
    assert force([MONTH], [own]) == (MONTH, own)


def test_a_name_that_the_plan_has_gives_way():
    own = Limit(name="month", scope="key", amount=5, window="day")
    assert force([MONTH], [own]) == (MONTH, replace(own, name="key-month"))


def test_a_keys_limit_holds_where_the_plans_is_a_shadow():
    own = Limit(name="mine", scope="key", amount=5000, window="minute", burst=9)
    assert force([replace(MINUTE, shadow=True)], [own]) == (replace(own, name="minute"),)


def test_a_shadow_stays_a_shadow_under_an_override():
    (found,) = force([replace(MONTH, shadow=True)], overrides={"month": override(5)})
    assert found.shadow and found.amount == 5


def test_a_limit_counts_since_it_and_the_account_came_to_the_plan():
    months = [replace(MONTH, since=5), replace(MONTH, since=9)]
    assert [limit.since for limit in force(months, since=7)] == [7, 9]


def test_a_smoothed_limit_is_the_plans_own_object():
    """A process holds it once for all keys of the plan. Since when it counts means nothing to it."""
    (found,) = force([MINUTE], since=7)
    assert found is MINUTE
