"""A change is done when the gate knows it; until then it is pending, and it never gets lost or older."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from redis.exceptions import NoPermissionError

from accounts.facts import delivery, publish, snapshot
from accounts.facts.publish import change, models_base
from accounts.facts.storing import PUBLISH, RAISE
from accounts.ledger_worker import Worker
from accounts.models import Account, ApiKey, OutboxRow
from accounts.services.accounts import (
    close_account,
    create_account,
    move_account,
    rename_account,
    reopen_account,
    suspend_account,
)
from accounts.services.catalogue import change_catalogue
from accounts.services.keys import change_key, issue_key, revoke_key
from quotas.deployment import AnotherDeployment
from quotas.limits import Limit
from quotas.models import Catalogue, Plan
from store import clients, names
from store.commands import ScriptCall
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

PART = "{zz}:part"
MINUTE = Limit(name="minute", scope="key", amount=5, window="minute")
PAST = 86_400  # the second at which a window has ended long ago


@pytest.fixture
def store_part(redis_db):
    """Run publish.lua: version, facts, then counters of seven each."""

    def run(version: int, facts: str, *counters: object, loaded: str = "l"):
        return redis_db.eval(PUBLISH.source, 1, PART, "v", "f", loaded, version, facts, *counters)

    return run


@pytest.fixture
def key(issued):
    return issued.key


def stored(redis_db, key: ApiKey) -> tuple[int, dict[str, Any]]:
    version, facts = redis_db.hmget(
        names.account(key.public_id[:8]), names.field("v", key.public_id), names.field("f", key.public_id)
    )
    return int(version), json.loads(facts)


def stored_account(redis_db, account: Account) -> tuple[int, dict[str, Any]]:
    version, facts = redis_db.hmget(names.account(account.public_id), "v", "f")
    return int(version), json.loads(facts)


# publish.lua


def test_newer_replaces_older(store_part, redis_db):
    assert store_part(1, "old") == [1, 1]
    assert store_part(2, "new") == [1, 2]
    assert redis_db.hmget(PART, "v", "f") == ["2", "new"]


@pytest.mark.parametrize("version", [1, 2])
def test_older_or_equal_never_replaces_newer(store_part, redis_db, version):
    store_part(2, "new")
    assert store_part(version, "old") == [-1, 2]
    assert redis_db.hmget(PART, "v", "f") == ["2", "new"]


def test_versions_are_compared_as_numbers(store_part):
    store_part(9, "nine")
    assert store_part(10, "ten") == [1, 10]
    assert store_part(9, "nine") == [-1, 10]


def test_counters_are_loaded_where_they_are_absent(store_part, redis_db):
    store_part(1, "x", "n:a", "w:a", "s:a", 20_000, 7, 5, PAST)
    assert redis_db.hmget(PART, "n:a", "w:a", "s:a") == ["7", "20000", "5"]
    assert int(redis_db.hget(PART, "l")) > 10**15  # microseconds


def test_what_was_counted_since_is_never_overwritten(store_part, redis_db):
    store_part(1, "x", "n:a", "w:a", "s:a", 20_000, 7, 5, PAST)
    redis_db.hincrby(PART, "n:a", 5)
    loaded = redis_db.hget(PART, "l")
    store_part(2, "y", "n:a", "w:a", "s:a", 20_000, 7, 5, PAST)
    store_part(3, "z", "n:a", "w:a", "s:a", 19_999, 100, 5, PAST)
    assert redis_db.hmget(PART, "n:a", "w:a", "l") == ["12", "20000", loaded]


def test_a_ledger_that_knows_more_raises_the_counter(store_part, redis_db):
    store_part(1, "x", "n:a", "w:a", "s:a", 20_000, 7, 5, PAST)
    store_part(1, "x", "n:a", "w:a", "s:a", 20_000, 9, 5, PAST)
    assert redis_db.hmget(PART, "n:a", "w:a") == ["9", "20000"]


def test_for_which_start_of_its_limit_a_counter_was_loaded_is_never_lowered(store_part, redis_db):
    """A late reader with older facts must not make newer gates load it again."""
    for version, since, kept in ((1, 5, "5"), (1, 4, "5"), (2, 6, "6"), (3, 5, "6")):
        store_part(version, "x", "n:a", "w:a", "s:a", 20_000, 7, since, PAST)
        assert redis_db.hget(PART, "s:a") == kept


def test_a_new_window_takes_the_place_of_the_old(store_part, redis_db):
    store_part(1, "x", "n:a", "w:a", "s:a", 20_000, 7, 5, PAST)
    store_part(1, "x", "n:a", "w:a", "s:a", 20_001, 2, 5, PAST)
    assert redis_db.hmget(PART, "n:a", "w:a") == ["2", "20001"]


@pytest.mark.parametrize(
    ("window", "seconds_left", "is_replaced"),
    [
        (20_002, 60, True),  # no clock that fell back a little counts in the window after the next
        (20_001, 7200, True),
        (20_001, 3000, False),  # one that fell back over midnight does count in the next
        (20_001, -60, False),  # it is whoever publishes whose clock is behind
        (20_002, -60, False),
    ],
)
def test_a_counter_of_a_window_to_come_is_replaced_unless_it_is_counted_in(
    store_part, redis_db, window, seconds_left, is_replaced
):
    store_part(1, "x", "n:a", "w:a", "s:a", window, 99, 5, PAST)
    store_part(1, "x", "n:a", "w:a", "s:a", 20_000, 7, 5, int(time.time()) + seconds_left)
    assert redis_db.hmget(PART, "n:a", "w:a") == (["7", "20000"] if is_replaced else ["99", str(window)])


def test_an_older_copy_loads_counters_all_the_same(store_part, redis_db):
    store_part(2, "new")
    assert store_part(1, "old", "n:a", "w:a", "s:a", 20_000, 7, 5, PAST) == [-1, 2]
    assert redis_db.hmget(PART, "f", "n:a") == ["new", "7"]


def test_the_catalogue_loads_nothing(store_part, redis_db):
    store_part(1, "x", loaded="")
    assert redis_db.hgetall(PART) == {"v": "1", "f": "x"}


# raise.lua


def test_the_catalogues_version_never_falls(redis_db):
    def run(version: int) -> int:
        return int(redis_db.eval(RAISE.source, 1, "{zz}:c", version))

    assert [run(version) for version in (9, 10, 9, 1, 11)] == [9, 10, 10, 10, 11]
    assert redis_db.get("{zz}:c") == "11"


def test_of_two_partitions_the_first_ahead_its_version_is_answered(redis_db):
    redis_db.set("{aa}:c", 12)
    assert int(redis_db.eval(RAISE.source, 2, "{aa}:c", "{zz}:c", 11)) == 12
    assert redis_db.mget("{aa}:c", "{zz}:c") == ["12", "11"]


# The outbox


def test_what_is_done_is_in_redis_and_out_of_the_outbox(key, redis_db):
    assert not revoke_key(key, actor=ACTOR).is_pending
    version, facts = stored(redis_db, key)
    assert (version, facts["revoked"]) == (ApiKey.objects.get().version, True)
    assert not OutboxRow.objects.exists()


def test_rows_go_only_up_to_the_published_version(key):
    rows = [OutboxRow.objects.create(part="key", subject=key.public_id, version=version) for version in (1, 2, 3)]
    others = [
        OutboxRow.objects.create(part="key", subject="0" * 16, version=1),
        OutboxRow.objects.create(part="account", subject=key.public_id[:8], version=1),
    ]
    assert ApiKey.objects.get().version == 1
    delivery.deliver("key", key.public_id)
    assert set(OutboxRow.objects.all()) == {*rows[1:], *others}


def test_a_change_in_an_outer_transaction_is_published_at_its_end(key, redis_db):
    with transaction.atomic():
        publication = revoke_key(key, actor=ACTOR)
        assert publication.published is None and publication.is_pending
        assert stored(redis_db, key)[0] == 1
    assert publication.published
    assert stored(redis_db, key)[0] == 2


def test_a_rolled_back_change_publishes_nothing(key, redis_db):
    with pytest.raises(RuntimeError), transaction.atomic():
        publication = revoke_key(key, actor=ACTOR)
        raise RuntimeError
    assert publication.is_pending
    assert stored(redis_db, key) == (1, stored(redis_db, key)[1])
    assert not stored(redis_db, key)[1]["revoked"]
    assert not OutboxRow.objects.exists()
    assert ApiKey.objects.get().version == 1


def test_a_change_that_fails_half_way_leaves_no_row(key):
    with pytest.raises(RuntimeError), change() as publication:
        publication.of_key(key)
        raise RuntimeError
    assert not OutboxRow.objects.exists() and publication.is_pending


@pytest.mark.parametrize("count", [1, 20])  # one by one, and together
@pytest.mark.parametrize("part", ["account", "key"])
def test_an_empty_redis_gets_with_a_part_all_that_its_facts_depend_on(account, redis_db, part, count):
    keys = [issue_key(account, name="k", actor=ACTOR).key for _ in range(count)]
    accounts = [create_account(f"a{number}", account.plan, actor=ACTOR)[0] for number in range(count)]
    rows = [account, *accounts] if part == "account" else keys
    redis_db.flushdb()
    delivery.deliver_parts((part, row.public_id) for row in rows)
    for row in rows:
        held = names.account(row.public_id[:8])
        assert redis_db.hexists(held, names.FACTS)
        assert part == "account" or redis_db.hexists(held, names.field(names.FACTS, row.public_id))
        assert redis_db.get(names.catalogue_version(row.public_id[:2])) == str(version_of(Catalogue.objects.get()))


@pytest.mark.parametrize("count", [1, 20])  # one by one, and together
@pytest.mark.parametrize(("replicas", "is_allowed"), [(0, True), (1, True), (1, False)])
def test_before_a_change_is_done_a_replica_has_it_if_there_is_one(
    account, redis_db, monkeypatch, caplog, count, replicas, is_allowed
):
    keys = [issue_key(account, name="k", actor=ACTOR).key for _ in range(count)]
    waits: list[tuple[bool, bool]] = []  # whether Redis has the facts, and the outbox still its row
    run = redis_db.execute_command

    def execute_command(*args, **options):
        if args[0] != "WAIT":
            return run(*args, **options)
        waits.append((bool(redis_db.exists(names.account(account.public_id))), OutboxRow.objects.exists()))
        if not is_allowed:
            raise NoPermissionError("no WAIT")

    redis_db.flushdb()
    OutboxRow.objects.create(part="key", subject=keys[0].public_id, version=keys[0].version)
    monkeypatch.setattr(redis_db, "execute_command", execute_command)
    monkeypatch.setattr(clients, "infos", lambda *_: [{"connected_slaves": replicas}])
    delivery.deliver_parts(("key", key.public_id) for key in keys)
    assert waits == [(True, True)] * replicas
    assert not OutboxRow.objects.exists()
    assert ("forbids WAIT" in caplog.text) is not is_allowed


@pytest.mark.parametrize("count", [1, 20])  # one by one, and together
@pytest.mark.parametrize("part", ["account", "key"])
def test_nothing_is_published_into_the_redis_of_another_deployment(account, redis_db, part, count):
    keys = [issue_key(account, name="k", actor=ACTOR).key for _ in range(count)]
    accounts = [create_account(f"a{number}", account.plan, actor=ACTOR)[0] for number in range(count)]
    redis_db.flushdb()
    redis_db.set(names.DEPLOYMENT, "theirs")
    with pytest.raises(AnotherDeployment):
        delivery.deliver_parts((part, row.public_id) for row in (keys if part == "key" else accounts))
    assert redis_db.keys() == [names.DEPLOYMENT]


def test_nothing_to_publish_is_published(catalogue):
    with change() as publication:
        pass
    assert publication.published


def test_every_change_raises_its_own_version_by_one(key, account):
    change_key(key, name="other", actor=ACTOR)
    rename_account(account, "other", actor=ACTOR)
    assert (ApiKey.objects.get().version, Account.objects.get().version) == (2, 2)


# Pending


def test_a_change_without_redis_is_pending_and_delivered_when_it_is_back(key, account, redis_db, redis_away):
    before = Catalogue.objects.get().version
    with redis_away():
        assert revoke_key(key, actor=ACTOR).is_pending
        assert suspend_account(account, actor=ACTOR).is_pending
        assert change_catalogue(lambda: ["a change"], actor=ACTOR)[1].is_pending
        assert issue_key(account, name="new", actor=ACTOR).publication.is_pending
    assert OutboxRow.objects.count() == 4
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    assert not stored(redis_db, key)[1]["revoked"]

    assert delivery.deliver_all() == 4
    assert not OutboxRow.objects.exists()
    assert stored(redis_db, key)[1]["revoked"]
    assert stored_account(redis_db, account)[1]["state"] == "suspended"
    assert int(redis_db.hget(names.CATALOGUE, "v")) == before + 1
    assert {redis_db.get(names.catalogue_version(part)) for part in names.ALL_PARTITIONS} == {str(before + 1)}


def test_the_worker_delivers(key, redis_db, redis_away):
    worker = Worker()
    worker.turn()
    with redis_away():
        revoke_key(key, actor=ACTOR)
    assert worker.turn().published == 1
    assert stored(redis_db, key)[1]["revoked"]
    assert worker.turn().published == 0


def test_several_changes_of_a_part_are_delivered_as_one(key, redis_away):
    with redis_away():
        for name in "abc":
            change_key(key, name=name, actor=ACTOR)
    assert OutboxRow.objects.count() == 3
    assert delivery.deliver_all() == 1
    assert not OutboxRow.objects.exists()


def test_the_changes_that_wait_longest_are_delivered_first(key, account):
    OutboxRow.objects.create(part=OutboxRow.Part.KEY, subject=key.public_id, version=version_of(key))
    OutboxRow.objects.create(part=OutboxRow.Part.ACCOUNT, subject=account.public_id, version=version_of(account))
    assert delivery.deliver_all(1) == 1
    assert [row.subject for row in OutboxRow.objects.all()] == [account.public_id]
    assert delivery.deliver_all(1) == 1
    assert not OutboxRow.objects.exists()


def test_repeating_a_pending_revocation_publishes_it(key, redis_db, redis_away):
    with redis_away():
        revoke_key(key, actor=ACTOR)
    assert not revoke_key(ApiKey.objects.get(), actor=ACTOR).is_pending
    assert stored(redis_db, key)[1]["revoked"]
    assert not OutboxRow.objects.exists()


def test_a_database_that_fails_after_the_commit_leaves_the_change_pending(key, redis_db, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "read_all", _fails)
        assert revoke_key(key, actor=ACTOR).is_pending
    assert ApiKey.objects.get().revoked_at is not None
    assert OutboxRow.objects.get().subject == key.public_id
    assert not stored(redis_db, key)[1]["revoked"]
    delivery.deliver_all()
    assert stored(redis_db, key)[1]["revoked"]


def _fails(public_id: str):
    raise OperationalError("server closed the connection unexpectedly")


def test_a_connection_that_dies_between_commit_and_publishing_leaves_the_change_pending(key, monkeypatch):
    deliver = delivery.deliver

    def die_first(part: str, subject: str) -> None:
        assert connection.connection is not None
        connection.connection.close()  # behind Django's back, as a server that stops does
        deliver(part, subject)

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "deliver", die_first)
        assert revoke_key(key, actor=ACTOR).is_pending
    connection.close()
    assert ApiKey.objects.get().revoked_at is not None
    assert OutboxRow.objects.count() == 1


def test_only_a_key_with_calendar_counters_records_when_they_were_loaded(account, redis_db):
    plain, counted = (
        issue_key(account, name="k", limits=limits, actor=ACTOR).key
        for limits in ([MINUTE], [MINUTE, replace(MINUTE, name="day", window="day")])
    )
    fields = redis_db.hkeys(names.account(account.public_id))
    assert "l" in fields and names.field("l", counted.public_id) in fields
    assert names.field("l", plain.public_id) not in fields


# After a loss


def test_everything_is_published_into_an_empty_redis(issued, pro_key, redis_db):
    before = {name: redis_db.hgetall(name) for name in redis_db.scan_iter("*:a:*")}
    redis_db.flushdb()
    assert delivery.publish_everything() == 1 + 2 + 2
    after = {name: redis_db.hgetall(name) for name in redis_db.scan_iter("*:a:*")}
    assert {name: _without_loads(row) for name, row in after.items()} == {
        name: _without_loads(row) for name, row in before.items()
    }
    assert redis_db.get(names.catalogue_version("zz")) == str(Catalogue.objects.get().version)


def _without_loads(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != "l" and not name.startswith("l:")}


def test_an_account_moved_in_another_transaction_is_published_as_the_database_has_it(account, redis_db):
    stale = Account.objects.get()
    move_account(account, Plan.objects.get(name="pro"), actor=ACTOR)
    rename_account(stale, "renamed", actor=ACTOR)
    version, facts = stored_account(redis_db, account)
    assert (version, facts["plan"]) == (3, "pro")


# What changed lately


LATELY = {
    "key": lambda key: change_key(key, name="other", actor=ACTOR),
    "account": lambda key: suspend_account(key.account, actor=ACTOR),
    "catalogue": lambda key: change_catalogue(lambda: ["a change"], actor=ACTOR),
}


@pytest.mark.parametrize("part", LATELY)
def test_what_was_changed_a_moment_ago_is_published_again_and_nothing_else(key, redis_db, part):
    long_ago, lately = timezone.now() - timedelta(days=2), timezone.now() - timedelta(hours=1)
    for model in (ApiKey, Account, Catalogue):
        publish.models_base(model).update(changed_at=long_ago)
    LATELY[part](key)
    redis_db.flushdb()
    assert delivery.publish_changed_since(lately) == 1
    assert redis_db.exists(names.CATALOGUE) == (part == "catalogue")


@pytest.mark.parametrize("part", ["key", "account", "catalogue"])
def test_a_version_that_was_raised_above_redis_counts_as_a_change(key, account, redis_db, part):
    long_ago, lately = timezone.now() - timedelta(days=2), timezone.now() - timedelta(hours=1)
    for model in (ApiKey, Account, Catalogue):
        publish.models_base(model).update(changed_at=long_ago)
    subject = {"key": key.public_id, "account": account.public_id, "catalogue": ""}[part]
    delivery._raise_above(delivery.Clash(part, subject, 10**15))
    assert delivery.publish_changed_since(lately) == 1


def test_what_redis_still_has_is_not_published_again(key, redis_db, monkeypatch):
    """After a large import, that would be a million keys each minute, for an hour."""
    an_hour = timezone.now() - timedelta(hours=1)
    delivery.deliver_all()
    delivery.publish_changed_since(an_hour)  # the catalogue always is
    published: list[tuple[str, str]] = []
    monkeypatch.setattr(delivery, "deliver_parts", published.extend)
    delivery.publish_changed_since(an_hour)
    assert {part for part, _ in published} <= {OutboxRow.Part.CATALOGUE}


@pytest.mark.parametrize("step", [-1, 1], ids=["older", "newer"])
def test_another_version_in_redis_is_replaced(key, redis_db, step):
    """An older one is that of a lagging replica; a newer one means that the database is behind."""
    held = names.account(key.public_id[:8])
    fields = names.field("v", key.public_id), names.field("f", key.public_id)
    change_key(key, name="other", actor=ACTOR)
    version, facts = stored(redis_db, key)
    redis_db.hset(
        held, mapping={fields[0]: version + step, fields[1]: json.dumps({**facts, "networks": ["10.0.0.0/8"]})}
    )
    delivery.publish_changed_since(timezone.now() - timedelta(hours=1))
    version_now, facts_now = stored(redis_db, key)
    assert version_now >= version + max(step, 0)
    assert facts_now["networks"] == facts["networks"] == []


@pytest.mark.parametrize(("stored", "version"), [(3, 9), (8, 9), (9, 10), (10, 11)])
@pytest.mark.parametrize("part", ["catalogue", "account", "key"])
def test_a_clash_raises_a_version_above_that_in_redis_and_lowers_none(key, account, part, stored, version):
    row = {"catalogue": Catalogue.objects.get(), "account": account, "key": key}[part]
    models_base(type(row)).update(version=9)
    delivery._raise_above(delivery.Clash(part, "" if part == "catalogue" else row.public_id, stored))
    assert models_base(type(row)).get(pk=row.pk).version == version


def test_closing_an_account_changes_only_keys_that_are_not_revoked(key, account):
    gone = issue_key(account, name="gone", actor=ACTOR).key
    revoke_key(gone, actor=ACTOR)
    before = version_of(key), version_of(gone)
    close_account(account, actor=ACTOR)
    assert (version_of(key), version_of(gone)) == (before[0] + 1, before[1])


def test_reopening_publishes_at_once_however_many_keys_there_are(account, redis_db, monkeypatch):
    keys = [issue_key(account, name="k", actor=ACTOR).key for _ in range(3)]
    monkeypatch.setattr(publish, "AT_ONCE", 2)
    close_account(account, actor=ACTOR)
    assert OutboxRow.objects.count() == 3  # for the worker
    assert not reopen_account(account, actor=ACTOR).is_pending
    assert not OutboxRow.objects.exists()
    assert all(stored(redis_db, key)[1]["secrets"] for key in keys)


def test_a_change_that_another_deployments_redis_refuses_is_pending_and_says_why(key, redis_db, caplog):
    redis_db.set(names.DEPLOYMENT, "theirs")
    assert revoke_key(key, actor=ACTOR).is_pending
    assert "holds the data of another deployment" in caplog.text and "cannot be reached" not in caplog.text


def test_no_partition_demands_a_catalogue_that_is_not_there_yet(catalogue):
    """Gates would find the one before, and answer 503 until the next command has run."""
    _, calls = delivery._read_catalogue()
    first, *others = (call.command for call in calls if isinstance(call.command, ScriptCall))
    assert first.script is PUBLISH and {call.script for call in others} == {RAISE}
    raised = [key for call in others for key in call.keys]
    assert sorted(raised) == sorted(map(names.catalogue_version, names.ALL_PARTITIONS))


def test_a_catalogue_behind_many_partitions_is_raised_above_the_highest_at_once(key, redis_db):
    (version,) = Catalogue.objects.values_list("version", flat=True)
    for place, ahead in ((0, 30), (1000, 10), (2000, 50), (3000, 20)):  # none in one command with another
        redis_db.set(names.catalogue_version(names.ALL_PARTITIONS[place]), version + ahead)
    delivery.deliver("catalogue", "")
    assert Catalogue.objects.get().version == version + 51


def test_accounts_and_keys_that_redis_lost_are_found_among_many(account, redis_db):
    keys = [issue_key(account, name=f"k{number}", actor=ACTOR).key for number in range(12)]
    delivery.deliver_all()
    gone = {keys[3].public_id, keys[7].public_id}
    redis_db.hdel(names.account(account.public_id), "v", *(names.field("v", public_id) for public_id in gone))
    rows = [(account.public_id, version_of(account)), *((key.public_id, version_of(key)) for key in keys)]
    assert set(delivery._of_other_versions(rows)) == gone | {account.public_id}


@pytest.mark.parametrize("part", ["account", "key"])
def test_of_many_that_are_published_together_those_behind_redis_are_raised_and_published_too(account, redis_db, part):
    rows: list[Any]
    if part == "key":
        rows = [issue_key(account, name="k", actor=ACTOR).key for _ in range(12)]
    else:
        rows = [create_account(f"a{number}", account.plan, actor=ACTOR)[0] for number in range(12)]
    behind = rows[4]
    held, key_id = names.account(behind.public_id[:8]), behind.public_id if part == "key" else ""
    version, facts = (names.field(kind, key_id) for kind in (names.VERSION, names.FACTS))
    redis_db.hset(held, mapping={version: 40, facts: "{}"})
    for row in rows:
        OutboxRow.objects.create(part=part, subject=row.public_id, version=version_of(row))
    delivery.deliver_all()
    assert (version_of(behind), redis_db.hget(held, version)) == (41, "41")
    assert not OutboxRow.objects.exists()


def test_closing_an_account_counts_as_a_change_of_its_keys(key, account, redis_db):
    """So a failover that undoes it is noticed for the keys too, within the hour."""
    long_ago, lately = timezone.now() - timedelta(days=2), timezone.now() - timedelta(hours=1)
    for model in (ApiKey, Account, Catalogue):
        publish.models_base(model).update(changed_at=long_ago)
    close_account(account, actor=ACTOR)
    redis_db.flushdb()
    assert delivery.publish_changed_since(lately) == 2
    assert redis_db.hexists(names.account(account.public_id), names.field(names.FACTS, key.public_id))


def test_a_replica_is_waited_for_but_not_for_ever(key, redis_db, monkeypatch):
    """To Redis, zero milliseconds are no end at all."""
    waits: list[tuple[int, int]] = []
    run = redis_db.execute_command

    def execute_command(*args, **options):
        if args[0] != "WAIT":
            return run(*args, **options)
        waits.append(args[1:])

    monkeypatch.setattr(redis_db, "execute_command", execute_command)
    monkeypatch.setattr(clients, "infos", lambda *_: [{"connected_slaves": 2}])
    delivery.deliver("key", key.public_id)
    ((replicas, milliseconds),) = waits
    assert replicas == 1 and 0 < milliseconds <= 1000


def test_more_commands_than_are_sent_at_once_all_arrive(account, redis_db, monkeypatch):
    keys = [issue_key(account, name="k", actor=ACTOR).key for _ in range(12)]
    redis_db.flushdb()
    monkeypatch.setattr(delivery, "BATCH", 5)
    delivery.deliver_parts(("key", key.public_id) for key in keys)
    fields = [names.field(names.FACTS, key.public_id) for key in keys]
    assert None not in redis_db.hmget(names.account(account.public_id), fields)


@pytest.mark.parametrize("part", ["account", "key"])
def test_when_everything_is_published_what_is_behind_redis_is_raised_above_it(key, account, redis_db, part):
    row = account if part == "account" else key
    version, facts = (names.field(kind, key.public_id if part == "key" else "") for kind in ("v", "f"))
    redis_db.hset(names.account(account.public_id), mapping={version: 40, facts: "{}"})
    delivery.publish_everything()
    assert version_of(row) == 41
    assert redis_db.hget(names.account(account.public_id), version) == "41"


def test_everything_is_published_only_into_a_redis_that_is_ours(key, redis_db):
    redis_db.set(names.DEPLOYMENT, "theirs")
    before = redis_db.hgetall(names.account(key.public_id[:8]))
    redis_db.delete(names.account(key.public_id[:8]))
    with pytest.raises(AnotherDeployment):
        delivery._publish_accounts_with_keys([key.account_id])
    assert before and not redis_db.exists(names.account(key.public_id[:8]))


def test_what_clashed_stays_in_the_outbox_until_it_is_published_alone(account, redis_db, monkeypatch):
    """The worker may be stopped in between."""
    keys = [issue_key(account, name="k", actor=ACTOR).key for _ in range(12)]
    version, facts = (names.field(kind, keys[4].public_id) for kind in ("v", "f"))
    redis_db.hset(names.account(account.public_id), mapping={version: 40, facts: "{}"})
    for key in keys:
        OutboxRow.objects.create(part="key", subject=key.public_id, version=key.version)
    left: list[str] = []
    monkeypatch.setattr(
        delivery, "deliver", lambda *_: left.extend(OutboxRow.objects.values_list("subject", flat=True))
    )
    delivery.deliver_parts(("key", key.public_id) for key in keys)
    assert left == [keys[4].public_id]


def version_of(row: Account | ApiKey | Catalogue) -> int:
    return type(row)._base_manager.get(pk=row.pk).version
