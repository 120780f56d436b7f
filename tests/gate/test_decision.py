"""Decisions: their cost, what they confirm, and that a change takes effect on the next request."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connections

from accounts.facts.lookup import Lookup
from accounts.facts.publish import models_base
from accounts.keys import Pepper, new_key
from accounts.models import Account, ApiKey, KeySecret
from accounts.peppers import peppers
from accounts.services.accounts import close_account, move_account, override_limit, resume_account, suspend_account
from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from accounts.services.keys import change_key, end_rotation, issue_key, revoke_key, rotate_key
from authsvc.gate import app
from authsvc.gate.app import close_gate, gate
from quotas import buckets
from quotas.models import Catalogue, Plan, PlanLimit
from runtime.errand import Errand
from store import names
from store.commands import command
from tests.conftest import ACTOR, CATALOGUE, import_one
from tests.gate.conftest import question, raw
from tests.servers import until

pytestmark = pytest.mark.django_db(transaction=True)


def word(answer) -> str:
    return "allowed" if answer.status == 200 else json.loads(answer.body)["type"].rpartition("/")[2]


def left(answer) -> list[int]:
    """r of each policy."""
    header = dict(answer.headers)[b"ratelimit"].decode()
    return [int(policy.split(";")[1][2:]) for policy in header.split(", ")]


def forget_redis(client) -> None:
    client.flushdb()


class Stopped(RuntimeError):
    pass


@pytest.fixture
def database_stopped(monkeypatch):
    """From here on every statement fails, in every thread."""
    from django.db import OperationalError
    from django.db.backends.utils import CursorWrapper

    def stop() -> None:
        def fail(*_, **__):
            raise OperationalError("the database is stopped")

        monkeypatch.setattr(CursorWrapper, "execute", fail)

    return stop


def test_a_known_key_costs_no_sql_and_one_round_trip(ask, issued, costs):
    ask(issued.text)
    with costs() as counted:
        assert ask(issued.text).status == 200
    assert dict(counted) == {"round trips": 1}


def test_a_refusal_costs_what_a_permit_costs(ask, issued, costs):
    ask(issued.text)
    ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")
    with costs() as counted:
        assert word(ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")) == "insufficient_scope"
    assert dict(counted) == {"round trips": 1}


def test_a_cold_process_needs_two_round_trips_and_no_sql(on_a_loop, ask, issued, costs):
    ask(issued.text)  # Redis has the scripts from now on, whichever test it met first
    on_a_loop(close_gate())
    on_a_loop(_connect())
    with costs() as counted:
        assert ask(issued.text).status == 200
    assert dict(counted) == {"round trips": 2}


async def _connect() -> None:
    from authsvc.gate.app import gate

    await gate().lookup.link.ask("", command("PING"))


@pytest.mark.parametrize("key", ["junk", "ask_" + "a" * 61, None])
def test_a_string_that_we_did_not_mint_costs_nothing(on_a_loop, ask, issued, costs, key):
    ask(issued.text)
    with costs() as counted:
        assert ask(key).status == 401
    assert dict(counted) == {}


def test_a_forged_key_with_a_right_checksum_costs_nothing(ask, issued, costs):
    from accounts.keys import crc_of

    ask(issued.text)
    body = (issued.text[:-12] + "AAAAAA").encode()
    with costs() as counted:
        assert ask((body + crc_of(body)).decode()).status == 401
    assert dict(counted) == {}


async def answered_at_once(key: str) -> bool:
    answers: list[bytes] = []
    gate().answer_directly(b"model=sm", raw(question(key)), lambda head, _: answers.append(head))
    at_once = bool(answers)
    await until(lambda: bool(answers), "an answer")
    return at_once


def test_a_refusal_for_its_string_alone_needs_neither_a_task_nor_a_timer(on_a_loop, ask, issued):
    forged = new_key("A" * 16, "ask", Pepper.of("not ours")).text
    assert not on_a_loop(answered_at_once(forged)), "a cold process has to learn the catalogue first"
    ask(issued.text)
    for key in (forged, issued.text[:-1], "junk"):
        assert on_a_loop(answered_at_once(key))
    assert not on_a_loop(answered_at_once(issued.text)), "only Redis can allow it"


def test_a_key_that_redis_knows_and_the_process_does_not_needs_one_more_round_trip_and_no_task(
    on_a_loop, ask, issued, costs, monkeypatch
):
    tasks: list[Errand[object]] = []
    become_a_task = Errand._become_a_task

    def counted_task(errand: Errand[object]) -> None:
        tasks.append(errand)
        become_a_task(errand)

    monkeypatch.setattr(Errand, "_become_a_task", counted_task)

    async def forgotten() -> None:
        gate().lookup.cache.clear()
        await answered_at_once(issued.text)

    ask(issued.text)
    with costs() as counted:
        on_a_loop(forgotten())
    assert (dict(counted), tasks) == ({"round trips": 2}, [])


def test_an_unknown_key_asks_the_database_once_a_minute_and_redis_twice_each_time(ask, issued, costs):
    from accounts.keys import new_key
    from accounts.peppers import peppers

    stranger = new_key("Z" * 16, "ask", peppers()[0]).text
    assert ask(stranger).status == 401
    with costs() as counted:
        assert ask(stranger).status == 401
    assert dict(counted) == {"round trips": 2}


def test_the_mark_of_an_unknown_key_ends_within_a_minute(ask, account, redis_db):
    from accounts.keys import new_key
    from accounts.peppers import peppers

    stranger = account.public_id + "0" * 8
    ask(new_key(stranger, "ask", peppers()[0]).text)
    assert 1 <= redis_db.ttl(names.unknown(stranger)) <= 60


def test_unknown_keys_evict_no_good_facts(ask, issued, costs, settings):
    from accounts.keys import new_account_id, new_key, new_key_id

    settings.CACHE_BYTES = 6000  # of a key and a half
    ask(issued.text)
    for _ in range(5):
        ask(new_key(new_key_id(new_account_id()), "ask", peppers()[0]).text)
    with costs() as counted:
        ask(issued.text)
    assert dict(counted) == {"round trips": 1}


def test_the_facts_of_a_process_are_bounded(ask, pro_account, on_a_loop, settings):
    from authsvc.gate.app import gate

    settings.CACHE_BYTES = 16_000
    keys = [issue_key(pro_account, name=str(number), actor=ACTOR) for number in range(8)]
    for issued in keys:
        assert ask(issued.text).status == 200

    async def known() -> tuple[list[str], int]:
        cache = gate().lookup.cache
        return list(cache.entries), cache.bytes

    names_of_known, size = on_a_loop(known())
    assert 2 <= len(names_of_known) <= 6 and size <= 14_000
    assert names_of_known == [issued.key.public_id for issued in keys][-len(names_of_known) :]


def test_a_key_that_calls_many_models_takes_up_more_of_the_cache(ask, catalogue, pro_account, on_a_loop):
    from authsvc.gate.app import gate

    catalogue(CATALOGUE + "".join(f"    [models.m{number}]\n" for number in range(20)))
    text = issue_key(pro_account, name="k", actor=ACTOR).text
    ask(text)

    async def size() -> int:
        return gate().lookup.cache.bytes

    before = on_a_loop(size())
    for number in range(20):
        assert ask(text, query=f"model=m{number}", x_forwarded_uri=f"/m{number}/x").status == 200
    assert on_a_loop(size()) >= before + 20 * 1350


CHANGES = {
    "revoked": lambda key, account: revoke_key(key, actor=ACTOR),
    "suspended": lambda key, account: suspend_account(account, actor=ACTOR),
    "closed": lambda key, account: close_account(account, actor=ACTOR),
    "another model": lambda key, account: change_key(key, models=["lg"], actor=ACTOR),
    "another network": lambda key, account: change_key(key, networks=["10.0.0.0/8"], actor=ACTOR),
    "another method": lambda key, account: change_key(key, methods=["GET"], actor=ACTOR),
    "expired": lambda key, account: change_key(key, expires_at=datetime.now(UTC), actor=ACTOR),
    "rotated": lambda key, account: rotate_key(key, grace=timedelta(0), actor=ACTOR),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_holds_on_the_next_request(ask, issued, account, change):
    assert ask(issued.text).status == 200
    CHANGES[change](issued.key, account)
    assert ask(issued.text).status in (401, 403)


def test_a_disabled_model_and_an_edited_plan_hold_on_the_next_request(ask, issued, catalogue):
    assert ask(issued.text).status == 200
    catalogue(CATALOGUE.replace('title = "small"', "enabled = false"))
    assert word(ask(issued.text)) == "unknown_model"
    catalogue(CATALOGUE.replace("burst = 10", "burst = 2"))
    assert left(ask(issued.text)) == [0, 998]
    assert ask(issued.text).status == 429


def test_moving_to_a_different_plan_takes_effect_on_the_next_request_and_keeps_what_was_used(ask, issued, account):
    for _ in range(3):
        ask(issued.text)
    move_account(account, Plan.objects.get(name="pro"), actor=ACTOR)
    assert left(ask(issued.text)) == [99]
    move_account(account, Plan.objects.get(name="free"), actor=ACTOR)
    assert left(ask(issued.text))[1] == 996


def test_a_key_that_was_revoked_is_refused_in_the_same_words_as_an_unknown_one(ask, issued):
    revoke_key(issued.key, actor=ACTOR)
    revoked, junk = ask(issued.text), ask("ask_" + "0" * 30)
    assert json.loads(revoked.body)["detail"] == "This API key is not valid."
    assert revoked.status == junk.status == 401


def test_both_secrets_work_until_the_grace_ends(ask, issued):
    new = rotate_key(issued.key, grace=timedelta(days=1), actor=ACTOR)
    assert ask(issued.text).status == ask(new.text).status == 200
    end_rotation(issued.key, actor=ACTOR)
    assert ask(issued.text).status == 401
    assert ask(new.text).status == 200


def test_a_grace_ends_by_itself(ask, issued, monkeypatch):
    from authsvc.gate import app

    new = rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    for text in (issued.text, new.text, issued.text):  # what is remembered of one must not serve for the other
        assert ask(text).status == 200
    later = datetime.now(UTC).timestamp() + 3601
    monkeypatch.setattr(app, "time", lambda: later)
    assert ask(issued.text).status == 401
    assert ask(new.text).status == 200


def test_each_of_two_secrets_has_its_own_last_use(ask, issued, redis_db):
    new = rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    addresses = ("203.0.113.1", "203.0.113.2")
    for _ in range(2):
        for text, address in zip((issued.text, new.text), addresses, strict=True):
            assert ask(text, x_forwarded_for=address).status == 200
    usage = redis_db.hgetall(names.usage(issued.key.public_id, "sm", buckets.clock.hour()))
    secrets = KeySecret.objects.filter(key=issued.key).order_by("pk").values_list("pk", flat=True)
    assert [usage[f"f:{pk}"].partition(" ")[2] for pk in secrets] == list(addresses)


def test_decisions_continue_while_the_database_is_down(ask, issued, database_stopped):
    database_stopped()
    assert ask(issued.text).status == 200  # cold: the facts are in Redis
    assert ask(issued.text).status == 200


@pytest.mark.parametrize("limit", ["day", "month"])
def test_they_continue_past_midnight_and_the_month_s_end_while_the_database_is_down(
    ask, catalogue, pro_account, redis_db, database_stopped, limit
):
    catalogue(
        CATALOGUE.replace(
            '{ name = "second", per = "account", amount = 50, window = "second", burst = 100 }',
            f'{{ name = "quota", per = "account", amount = 9, window = "{limit}" }}',
        )
    )
    _made_long_ago(pro_account)
    key = issue_key(pro_account, name="k", actor=ACTOR).text
    for _ in range(4):
        ask(key)
    assert left(ask(key)) == [4]
    database_stopped()
    # The window that was counted is the one before: the account was loaded in it, too.
    account = names.account(pro_account.public_id)
    _, window, _ = names.counter(pro_account.public_id, "*", "requests", limit)
    redis_db.hset(account, window, int(redis_db.hget(account, window)) - 1)
    redis_db.hset(account, "l", 1)
    assert left(ask(key)) == [8]


def _made_long_ago(account) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    models_base(PlanLimit).update(counted_since=long_ago)
    models_base(Account).filter(pk=account.pk).update(plan_since=long_ago)
    change_catalogue(lambda: ["as if made long ago"], actor=ACTOR)
    resume_account(account, actor=ACTOR)


def test_an_emptied_redis_is_filled_from_the_database_and_the_ledger(ask, issued, redis_db):
    for _ in range(4):
        ask(issued.text)
    call_command("keep_ledger", once=True, stdout=StringIO())
    forget_redis(redis_db)
    assert left(ask(issued.text)) == [9, 995]


def test_with_redis_emptied_and_the_database_down_the_gate_cannot_decide(ask, issued, redis_db, database_stopped):
    ask(issued.text)
    forget_redis(redis_db)
    database_stopped()
    answer = ask(issued.text)
    assert (answer.status, dict(answer.headers)[b"retry-after"]) == (503, b"1")


def test_an_old_copy_in_redis_is_replaced_from_the_database(ask, issued, redis_db):
    """An old replica was promoted: versions and facts of yesterday."""
    ask(issued.text)
    account = names.account(issued.key.public_id[:8])
    copy = redis_db.hgetall(account)
    change_key(issued.key, methods=["POST", "GET"], actor=ACTOR)
    assert ask(issued.text).status == 200
    redis_db.hset(account, mapping=copy)
    assert ask(issued.text).status == 200
    assert redis_db.hget(account, names.field("v", issued.key.public_id)) == "2"


@pytest.mark.parametrize(("changes", "status"), [(1, 200), (3, 200), (4, 503), (99, 503)])
def test_a_gate_whose_facts_change_again_and_again_gives_up(ask, issued, monkeypatch, caplog, changes, status):
    ask(issued.text)
    packed, asked = buckets.Charge.packed, 0

    def with_other_versions(self, mode, hour, address=""):
        nonlocal asked
        asked += 1
        if asked > changes:
            return packed(self, mode, hour, address)
        return packed(buckets.Charge(self.key_id, self.model, 1, (), buckets.Versions(99, 99, 99)), mode, hour, address)

    monkeypatch.setattr(buckets.Charge, "packed", with_other_versions)
    assert ask(issued.text).status == status
    assert asked == min(changes + 1, 4)
    assert not caplog.records  # it is no fault of ours


@pytest.mark.parametrize("hangs", ["find", "find_imported", "learn_catalogue"])
def test_a_decision_ends_on_time_whatever_it_waits_for(issued, settings, on_a_loop, monkeypatch, hangs):
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    async def run() -> int:
        async with asyncio.timeout(20):
            return (await gate().answer("/auth/", b"model=sm", raw(question(keys[hangs])))).status

    forged = new_key("A" * 16, "ask", Pepper.of("not ours")).text
    keys = {"find": issued.text, "find_imported": "sk-of-another-system-0123456789", "learn_catalogue": forged}
    settings.IMPORTED_KEYS = True
    monkeypatch.setattr(app, "DECISION_SECONDS", 0.01)
    monkeypatch.setattr(Lookup, hangs, hang)
    assert on_a_loop(run()) == 503


def test_facts_are_confirmed_by_a_refusal_as_by_a_permit(ask, issued, on_a_loop):
    async def confirmed() -> float:
        held = gate().lookup.recall(issued.key.public_id)
        assert held is not None
        return held.confirmed

    assert word(ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")) == "insufficient_scope"
    assert on_a_loop(confirmed()) > 0


def test_a_fault_of_ours_is_no_verdict_on_the_caller(ask, issued, monkeypatch, caplog):
    ask(issued.text)
    monkeypatch.setattr(buckets.Charge, "packed", lambda *_: 1 / 0)
    answer = ask(issued.text)
    assert (answer.status, word(answer)) == (503, "cannot_decide")
    assert "ZeroDivisionError" in caplog.text


def test_a_call_that_costs_more_than_a_limit_can_hold_is_told_so(ask, pro_key, dearer):
    change_key(
        pro_key.key,
        limits=[_limit(name="tiny", amount=5, window="day", unit="units")],
        actor=ACTOR,
    )
    dearer("lg", 6)
    assert word(ask(pro_key.text, x_forwarded_uri="/v1/large/x", query="model=lg")) == "cost_over_burst"
    assert ask(pro_key.text).status == 200


def _limit(**fields):
    from quotas.limits import Limit

    return Limit(scope="key", **fields)


def test_a_new_pepper_takes_over_as_keys_are_used(issued, redis_db, settings, on_a_loop):
    """Issue under one pepper, change it, use the key, let the worker store the digest, drop the old one."""
    unused = issue_key(issued.key.account, name="unused", actor=ACTOR)
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    assert on_a_loop(_once(issued.text)) == 200
    assert on_a_loop(_once(unused.text[:-1] + "_")) == 401
    with pytest.raises(SystemExit):
        call_command("check_pepper", stdout=StringIO())
    call_command("keep_ledger", once=True, stdout=StringIO())
    assert KeySecret.objects.get(key=issued.key).pepper == peppers()[0].id
    revoke_key(unused.key, actor=ACTOR)
    call_command("check_pepper", stdout=StringIO())
    settings.KEY_PEPPER_OLD = ""
    assert on_a_loop(_once(issued.text)) == 200
    assert on_a_loop(_once(issued.text)) == 200


def test_a_key_that_is_refused_is_taken_over_by_a_new_pepper_all_the_same(ask, issued, redis_db, settings):
    """Nobody else can do it: a key that is over its quota for a month would be lost with the old pepper."""
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    for _ in range(2):  # Redis answers the second after it has executed what followed the first
        assert word(ask(issued.text, x_forwarded_uri="/v1/large", query="model=lg")) == "insufficient_scope"
    assert len(redis_db.hgetall(names.new_digests(names.partition(issued.key.public_id)))) == 1


def test_no_gate_is_kept_for_a_loop_that_has_ended(redis_db):
    async def make():
        return gate()

    made = [asyncio.run(make()) for _ in range(3)]
    assert [found for found in app._gates.values() if found in made] == made[-1:]


def test_a_gate_that_ends_no_longer_watches_whose_redis_is_and_asks_no_database(issued, on_a_loop):
    async def run() -> bool:
        lookup = gate().lookup
        await gate().know_whose()
        watching = gate()._watching
        assert watching is not None
        await close_gate()
        await asyncio.wait([watching], timeout=20)
        with pytest.raises(RuntimeError):
            lookup._threads.submit(int)
        return watching.cancelled()

    assert on_a_loop(run())


async def _once(key: str) -> int:
    """The gate of a new process."""
    from authsvc.gate.app import close_gate, gate
    from tests.gate.conftest import question, raw

    try:
        first = await gate().answer("/auth/", b"", raw(question(key)))
        return (await gate().answer("/auth/", b"", raw(question(key)))).status if first.status == 200 else first.status
    finally:
        await close_gate()


def test_an_imported_key_is_found_in_redis_alone(account, redis_db, settings, on_a_loop, costs):
    text = "sk-of-another-system-0123456789"
    imported = import_one(account, text)
    assert on_a_loop(_once(text)) == 401
    settings.IMPORTED_KEYS = True
    assert on_a_loop(_once(text + "x")) == 503  # Redis may not have all keys yet: nobody can tell
    call_command("keep_ledger", once=True, stdout=StringIO())
    with costs() as counted:
        assert on_a_loop(_once(text)) == 200
        assert on_a_loop(_once(text + "x")) == 401
    assert counted["sql"] == 0
    revoke_key(imported.key, actor=ACTOR)
    assert on_a_loop(_once(text)) == 401


def test_every_act_is_in_the_audit_log(issued, account):
    from accounts.models import AuditEvent

    suspend_account(account, actor=Actor("alice", "203.0.113.9"))
    event = AuditEvent.objects.latest("id")
    assert (event.actor, event.address, event.act, event.subject) == (
        "alice",
        "203.0.113.9",
        "account.suspend",
        account.public_id,
    )
    assert event.before and event.after
    assert (event.before["state"], event.after["state"]) == ("active", "suspended")


def test_connections_of_look_ups_are_their_own(ask, issued):
    ask(issued.text)
    assert connections["default"].connection is None or not connections["default"].in_atomic_block


def test_strings_whose_check_cannot_be_verified_cost_the_database_nothing(ask, issued, redis_db, settings, costs):
    """A pepper is gone: strangers can now invent strings with a right checksum, and none may reach the database."""
    from accounts.keys import Pepper, new_account_id, new_key, new_key_id

    models_base(KeySecret).update(minted_pepper="gone")
    change_catalogue(lambda: ["a pepper is gone"], actor=ACTOR)
    call_command("keep_ledger", once=True, stdout=StringIO())
    assert ask(issued.text).status == 200
    with costs() as counted:
        for _ in range(5):
            stranger = new_key(new_key_id(new_account_id()), "ask", Pepper.of("s" * 40)).text
            assert ask(stranger).status == 401
    assert counted["sql"] == 0
    redis_db.delete(names.LIFE)
    assert ask(stranger).status == 503  # Redis may not have all keys: nobody can tell


@pytest.mark.parametrize("change", ["catalogue", "account", "key"])
def test_what_changed_reaches_a_process_from_redis_and_costs_no_sql(ask, issued, account, catalogue, costs, change):
    assert ask(issued.text).status == 200
    if change == "catalogue":
        catalogue(CATALOGUE.replace("burst = 10", "burst = 9"))
    elif change == "account":
        override_limit(account, "month", 500, actor=ACTOR)
    else:
        change_key(issued.key, methods=["POST"], actor=ACTOR)
    with costs() as counted:
        assert ask(issued.text).status == 200
    assert dict(counted) == {"round trips": 3}  # told to be stale, read again, taken


def test_a_limit_that_comes_back_counts_what_passed_without_it(ask, catalogue, pro_account, account):
    """Calls under a different plan, or while the limit was not in the catalogue, are only in usage: they still count."""
    key = issue_key(account, name="k", actor=ACTOR).text
    for _ in range(3):
        ask(key)
    move_account(account, Plan.objects.get(name="pro"), actor=ACTOR)
    for _ in range(5):
        assert ask(key).status == 200
    call_command("keep_ledger", once=True, stdout=StringIO())
    move_account(account, Plan.objects.get(name="free"), actor=ACTOR)
    assert left(ask(key))[1] == 1000 - 3 - 5 - 1
    month = '  { name = "month", per = "account", amount = 1000, window = "month", unit = "units" },'
    catalogue(CATALOGUE.replace(month, ""))
    assert ask(key).status == 200
    call_command("keep_ledger", once=True, stdout=StringIO())
    catalogue(CATALOGUE)
    assert left(ask(key))[1] == 1000 - 3 - 5 - 1 - 1 - 1


@pytest.mark.parametrize("part", ["key", "account", "catalogue"])
def test_a_database_that_is_behind_redis_can_still_publish_a_change(ask, issued, account, catalogue, part):
    """A backup was restored: its versions are lower than those in Redis, and what is changed now must win."""
    for number in range(3):
        change_key(issued.key, name=f"later {number}", actor=ACTOR)
        override_limit(account, "month", 900 + number, actor=ACTOR)
        catalogue(CATALOGUE.replace("burst = 10", f"burst = {11 + number}"))
    assert ask(issued.text).status == 200
    models_base(ApiKey).update(version=1)
    models_base(Account).update(version=1)
    models_base(Catalogue).update(version=1)
    if part == "key":
        assert revoke_key(issued.key, actor=ACTOR).published
    elif part == "account":
        assert suspend_account(account, actor=ACTOR).published
    else:
        catalogue(CATALOGUE.replace('title = "small"', "enabled = false"))
    assert ask(issued.text).status == (401 if part == "key" else 403)


def test_a_gate_before_the_first_catalogue_cannot_decide(redis_db, transactional_db, ask):
    from accounts.keys import Pepper, new_key

    assert ask(new_key("Z" * 16, "ask", Pepper.of("s" * 40)).text).status == 503
    assert ask(new_key("Z" * 16, "ask", peppers()[0]).text).status == 503
