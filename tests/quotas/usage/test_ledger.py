"""Redis usage → UsageHour: repeating, two workers, old copies and an emptied Redis are harmless."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import permutations
from time import monotonic

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Sum
from django.utils import timezone

from accounts import ledger_worker
from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, KeySecret
from accounts.notifications import postman
from accounts.services.accounts import close_account
from accounts.services.keys import revoke_key
from accounts.services.secrets import note_last_uses
from quotas.buckets import Charge, clock
from quotas.deployment import AnotherDeployment
from quotas.limits import Limit, hour_of
from quotas.models import RefusalDay, RefusalHour, UsageHour
from quotas.usage import ledger
from store import clients, names
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "203.0.113.7"


@pytest.fixture
def count(redis_db, issued):
    """Count calls as the gate does: allowed ones with a cost, and refused ones."""

    def count(
        allowed: int = 0,
        refused: int = 0,
        *,
        cost: int = 1,
        key: str = issued.key.public_id,
        reason: str = "revoked_key",
        limits: tuple[Limit, ...] = (),
    ) -> None:
        account = names.account(key[:8])
        version = redis_db.hget(account, "v"), redis_db.hget(account, names.field("v", key))
        versions = (int(redis_db.get(names.catalogue_version(key[:2]))), int(version[0]), int(version[1]))
        secret = KeySecret.objects.get(key__public_id=key).pk
        for number in range(allowed + refused):
            charge = Charge(key, "sm", cost, limits, versions, secret)  # type: ignore[arg-type]
            call = charge.call("take" if number < allowed or limits else reason, clock.hour(), ADDRESS)
            assert bool(call.run(redis_db)[0]) is (number < allowed)

    return count


def keep() -> None:
    call_command("keep_ledger", once=True, stdout=StringIO())


def reasons() -> dict[str, int]:
    """Sums by reason of hours, which those of days must equal."""
    of_hours, of_days = (
        {
            f"{row['reason']} {row['by_limit']}".strip(): row["sum"]
            for row in table.objects.values("reason", "by_limit").annotate(sum=Sum("calls")).order_by()
        }
        for table in (RefusalHour, RefusalDay)
    )
    assert of_hours == of_days
    return of_hours


def totals() -> tuple[int, int, int]:
    sums = UsageHour.objects.aggregate(a=Sum("allowed"), r=Sum("refused"), u=Sum("units"))
    return sums["a"], sums["r"], sums["u"]


def test_usage_is_copied_with_units_and_last_use(count, issued):
    count(7, 3)
    count(2, cost=5)
    keep()
    assert totals() == (9, 3, 7 + 10)
    row = UsageHour.objects.get()
    assert (row.account, row.key, row.model) == (issued.key.public_id[:8], issued.key.public_id, "sm")
    assert KeySecret.objects.get().last_used_at is not None
    assert KeySecret.objects.get().last_used_from == ADDRESS


def test_refusals_are_copied_by_reason(count, redis_db, issued):
    limit = Limit(name="x", scope="key", amount=2, window="minute", burst=2)
    count(2, 3, limits=(limit,))
    count(0, 4, reason="wrong_secret")
    count(2, limits=(replace(limit, amount=1, burst=1, shadow=True, unit="units"),))
    keep()
    assert reasons() == {
        "over_limit key:*:requests:minute": 3,
        "wrong_secret": 4,
        "shadow_refused key:*:units:minute": 1,
    }
    assert totals() == (4, 7, 4)
    row = RefusalHour.objects.filter(reason="wrong_secret").get()
    usage = UsageHour.objects.get()
    assert (row.account, row.key, row.model) == (issued.key.public_id[:8], issued.key.public_id, "sm")
    assert (row.hour, row.birth) == (usage.hour, usage.birth)


def test_what_no_gate_of_ours_wrote_breaks_nothing(count, redis_db):
    """A field of a later version, or garbage, is left alone; the counts beside it are copied."""
    count(2, 3)
    (name,) = redis_db.scan_iter("*:u:*")
    secret = KeySecret.objects.get().pk
    garbage = {"r:" + "x" * 33: 1, "r:": 1, "l:key:*:requests:week": 1, "l:nonsense": 1, "z:new": "thing"}
    for address in ("", "fe80::1%eth0", "<script>", "203.0.113.7, 10.0.0.1", "9" * 500):
        second = redis_db.hget(name, f"u:{secret}")
        redis_db.hset(name, mapping={**garbage, f"f:{secret}": f"{second} {address}"})
        redis_db.sadd(names.changed(name[1:3]), name)
        keep()
        assert KeySecret.objects.get().last_used_from in (None, "fe80::1")
    assert reasons() == {"revoked_key": 3}


def test_a_gate_and_a_worker_of_the_version_before_lose_nothing(count, redis_db):
    """It counts refusals without reasons, and it notes the second of the last use without the address."""
    count(2, 3)
    (name,) = redis_db.scan_iter("*:u:*")
    secret = KeySecret.objects.get().pk
    keep()
    used_at = int(redis_db.hget(name, f"u:{secret}"))
    redis_db.hincrby(name, "r", 2)
    redis_db.hset(name, f"u:{secret}", used_at + 1)
    redis_db.sadd(names.changed(name[1:3]), name)
    keep()
    assert totals() == (2, 5, 2)
    assert reasons() == {"revoked_key": 3}
    assert KeySecret.objects.get().last_used_at == datetime.fromtimestamp(used_at + 1, UTC)
    assert KeySecret.objects.get().last_used_from is None
    raw = redis_db.hgetall(name)  # what a worker of the version before reads as numbers
    assert all(int(raw[field]) for field in raw if field in "arsxb" or field.startswith("u:"))


def test_of_a_closed_account_no_address_is_kept(count, issued):
    count(1)
    keep()
    count(1)
    close_account(issued.key.account, actor=ACTOR)
    assert KeySecret.objects.get().last_used_from is None
    keep()
    assert KeySecret.objects.get().last_used_from is None


def test_repeating_adds_nothing(count, redis_db):
    count(5, 2)
    for _ in range(3):
        keep()
        for name in redis_db.scan_iter("*:u:*"):
            redis_db.sadd(names.changed(name[1:3]), name)
    assert totals() == (5, 2, 5)
    assert reasons() == {"revoked_key": 2}


def test_two_workers_at_once_are_harmless(count, issued):
    count(50, 9)
    part = [issued.key.public_id[:2]]

    def copy(_) -> None:
        ledger.copy_usage(part)
        connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(copy, range(6)))
    assert totals() == (50, 9, 50)
    assert reasons() == {"revoked_key": 9}


def test_an_older_copy_never_takes_anything_away(count):
    count(3, 1)
    old = ledger._read([next(iter(clients.sync_client().scan_iter("*:u:*")))])
    count(4, 5)
    keep()
    ledger.keep_hours(old)
    assert totals() == (7, 6, 7)
    assert reasons() == {"revoked_key": 6}


def test_a_redis_that_was_emptied_in_the_hour_counts_on_in_another_birth(count, redis_db):
    count(3, 2)
    keep()
    redis_db.flushdb()
    keep()  # publishes everything again
    count(4, 1)
    keep()
    assert totals() == (7, 3, 7)
    assert reasons() == {"revoked_key": 3}
    assert UsageHour.objects.count() == 2


def test_what_changed_while_it_was_copied_stays_on_the_list(count, redis_db, issued, monkeypatch):
    count(3, 1)
    store_ = ledger.keep_hours

    def store_and_count(hours) -> None:
        store_(hours)
        count(2, 1)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "keep_hours", store_and_count)
        keep()
    assert redis_db.scard(names.changed(issued.key.public_id[:2])) == 1
    keep()
    assert totals() == (5, 2, 5)
    assert reasons() == {"revoked_key": 2}
    assert redis_db.scard(names.changed(issued.key.public_id[:2])) == 0


def test_a_worker_that_dies_before_it_has_stored_loses_nothing(count, monkeypatch):
    count(3)

    def die(_) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "keep_hours", die)
        with pytest.raises(RuntimeError):
            keep()
    keep()
    assert totals() == (3, 0, 3)


def test_a_copied_hash_of_a_past_hour_is_kept_for_hours_not_for_weeks(count, redis_db, issued):
    count(3)
    (name,) = redis_db.scan_iter("*:u:*")
    assert redis_db.ttl(name) > 30 * 86400
    past = names.usage(issued.key.public_id, "sm", clock.hour() - 3)
    redis_db.rename(name, past)
    redis_db.delete(names.changed(past[1:3]))
    redis_db.sadd(names.changed(past[1:3]), past)
    keep()
    assert 0 < redis_db.ttl(past) <= 7200


def test_a_missing_life_publishes_everything(redis_db, issued, pro_key):
    keep()
    before = {name: redis_db.hgetall(name) for name in redis_db.scan_iter("*:a:*")}
    redis_db.flushdb()
    keep()
    after = {name: redis_db.hgetall(name) for name in redis_db.scan_iter("*:a:*")}
    versions = lambda hashes: {name: {f: v for f, v in h.items() if f[0] in "vf"} for name, h in hashes.items()}  # noqa: E731
    assert versions(after) == versions(before)
    assert len(after) == Account.objects.count()
    assert redis_db.exists(names.LIFE)


def test_another_redis_gets_what_changed_lately_again(redis_db, issued, monkeypatch):

    watching = ledger_worker.Worker()
    watching.turn()
    account = names.account(issued.key.public_id[:8])
    old = redis_db.hgetall(account)
    revoke_key(issued.key, actor=ACTOR)
    redis_db.hset(account, mapping=old)  # an old replica was promoted
    assert watching.turn().republished == 0
    monkeypatch.setattr(ledger_worker, "_identity", lambda _: "another")
    assert watching.turn().republished > 0
    assert '"revoked":true' in redis_db.hget(account, names.field("f", issued.key.public_id))


def test_once_says_what_it_did_and_fails_clearly_without_redis(issued, settings, tmp_path):
    out = StringIO()
    call_command("keep_ledger", once=True, stdout=out)
    assert "published" in out.getvalue()
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"
    clients.sync_client.cache_clear()
    with pytest.raises(CommandError, match="Redis cannot be reached"):
        call_command("keep_ledger", once=True)
    clients.sync_client.cache_clear()


def test_usage_outlives_its_key_and_account(count, issued):
    count(2)
    keep()
    close_account(issued.key.account, actor=ACTOR)
    revoke_key(ApiKey.objects.get(), actor=ACTOR)
    assert totals() == (2, 0, 2)


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "older than the worker's first turn"])
def test_a_restored_old_copy_costs_no_counts(count, redis_db, issued, monkeypatch, is_marked):
    """Counters and usage hashes of an hour ago, with the same births: what was counted since is in the ledger."""

    watching = ledger_worker.Worker()
    watching.turn()
    account = names.account(issued.key.public_id[:8])
    taken, window, _ = names.counter(issued.key.public_id[:8], "*", "units", "month")
    count(2, 1)
    redis_db.hset(account, taken, 2)
    (usage,) = redis_db.scan_iter("*:u:*")
    old = redis_db.hgetall(usage)
    count(7, 4)
    watching.turn()
    assert totals() == (9, 5, 9)
    redis_db.delete(usage)
    redis_db.hset(usage, mapping=old)
    monkeypatch.setattr(ledger_worker, "_identity", lambda _: "another")
    if not is_marked:
        redis_db.delete(names.LIFE)
    watching.turn()
    assert redis_db.hget(account, taken) == "9"
    assert redis_db.hget(account, window)
    count(3, 6)
    watching.turn()
    assert totals() == (12, 11, 12)
    assert reasons() == {"revoked_key": 11}


def test_a_worker_that_starts_beside_an_old_copy_notices_it(redis_db, issued, monkeypatch):
    """A host came back with yesterday's volume of Redis: the worker that starts there never saw the Redis before."""

    ledger_worker.Worker().turn()
    account = names.account(issued.key.public_id[:8])
    old = redis_db.hgetall(account)
    revoke_key(issued.key, actor=ACTOR)
    models_base(ApiKey).update(changed_at="2020-01-01T00:00:00Z")  # not lately
    redis_db.hset(account, mapping=old)
    monkeypatch.setattr(ledger_worker, "_identity", lambda _: "another")
    assert ledger_worker.Worker().turn().republished > 0
    assert '"revoked":true' in redis_db.hget(account, names.field("f", issued.key.public_id))


@pytest.mark.parametrize("busy_for", [0, 1, 3])
def test_a_hash_that_counts_on_while_it_is_closed_begins_a_new_birth_all_the_same(
    count, redis_db, monkeypatch, busy_for
):
    count(2, 3)
    (usage,) = redis_db.scan_iter("*:u:*")
    birth = redis_db.hget(usage, "b")
    store_, copies = ledger.keep_hours, []

    def store_and_count(hours) -> None:
        store_(hours)
        copies.append(len(hours))
        if len(copies) <= busy_for:
            count(1, 2)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "keep_hours", store_and_count)
        assert ledger.begin_new_births() == 1
    assert len(copies) == busy_for + 1
    assert not redis_db.exists(usage)
    count(4)
    assert redis_db.hget(usage, "b") != birth
    keep()
    assert totals() == (6 + busy_for, 3 + 2 * busy_for, 6 + busy_for)
    assert reasons() == {"revoked_key": 3 + 2 * busy_for}


@pytest.mark.parametrize("later_first", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_the_later_use_of_a_secret_stays_whichever_hour_is_copied_first(
    count, redis_db, issued, monkeypatch, later_first, at_once
):
    count(1)
    (this_hour,) = redis_db.scan_iter("*:u:*")
    secret = KeySecret.objects.get()
    used_at = int(redis_db.hget(this_hour, f"u:{secret.pk}"))
    earlier = names.usage(issued.key.public_id, "lg", clock.hour() - 1)
    redis_db.hset(
        earlier,
        mapping={"a": 1, "b": 1, f"u:{secret.pk}": used_at - 3600, f"f:{secret.pk}": f"{used_at - 3600} 203.0.113.9"},
    )
    order = [this_hour, earlier] if later_first else [earlier, this_hour]
    for names_copied in [order] if at_once else [[order[0]], [order[1]]]:
        monkeypatch.setattr(ledger, "_changed", lambda _, these=names_copied: iter(these))
        note_last_uses(ledger.copy_usage([]).last_uses)
    secret.refresh_from_db()
    assert (secret.last_used_at, secret.last_used_from) == (datetime.fromtimestamp(used_at, UTC), ADDRESS)


def test_a_turn_copies_nothing_from_the_redis_of_another_deployment(count, redis_db):
    worker = ledger_worker.Worker()
    worker.turn()  # so that in the next one there is nothing to publish, which would notice, too
    count(1)
    redis_db.set(names.DEPLOYMENT, "theirs")
    with pytest.raises(AnotherDeployment):
        worker.turn()
    assert not UsageHour.objects.exists()
    assert list(redis_db.scan_iter("*:u:*"))


def test_after_a_turn_the_postman_looks_once_at_the_quotas_of_who_used_something(
    count, account, pro_account, monkeypatch, settings
):
    settings.NOTIFICATIONS, settings.EMAIL_BACKEND = True, "django.core.mail.backends.locmem.EmailBackend"
    looked: list[set[str]] = []
    monkeypatch.setattr(postman, "tell_of_quotas", lambda accounts, _: looked.append(set(accounts)))
    worker = ledger_worker.Worker()
    count(1)
    worker.turn()
    worker.postman.go()
    worker.turn()
    worker.postman.go()
    assert looked == [{account.public_id}, set()]


def test_each_turn_lets_the_postman_go_if_it_is_time(catalogue, monkeypatch):
    worker, asked = ledger_worker.Worker(), []
    monkeypatch.setattr(worker.postman, "go_if_due", lambda: asked.append("asked"))
    worker.turn()
    worker.turn()
    assert asked == ["asked"] * 2


def test_expired_rows_are_swept_at_first_and_then_once_a_minute(catalogue, monkeypatch):
    """At first even on a host that has just started, whose clock begins at zero."""
    worker = ledger_worker.Worker()
    swept: list[int] = []
    for seconds in (0, 1, 59, 60, 61, 119, 121):
        monkeypatch.setattr(ledger_worker, "monotonic", lambda at=seconds: at)
        monkeypatch.setattr(ledger_worker, "sweep", lambda at=seconds: swept.append(at))
        worker.turn()
    assert swept == [0, 60, 121]


def test_a_redis_emptied_between_two_turns_is_filled_again_in_the_next(issued, redis_db):
    worker = ledger_worker.Worker()
    worker.turn()
    redis_db.flushdb()
    assert worker.turn().republished > 0
    assert redis_db.hexists(names.account(issued.key.public_id[:8]), names.field(names.FACTS, issued.key.public_id))
    assert redis_db.exists(names.LIFE)
    assert worker.turn().republished == 0


@pytest.mark.parametrize(("minutes_ago", "is_mended"), [(0, True), (59, True), (61, False)])
def test_what_changed_within_the_hour_is_published_again_once_a_minute(
    issued, redis_db, monkeypatch, minutes_ago, is_mended
):
    """A stale replica may have taken over, of a Redis that does not tell which one it is."""
    worker, began = ledger_worker.Worker(), monotonic()
    monkeypatch.setattr(ledger_worker, "monotonic", lambda: began)
    worker.turn()
    account = names.account(issued.key.public_id[:8])
    stale = redis_db.hgetall(account)
    revoke_key(issued.key, actor=ACTOR)
    redis_db.hset(account, mapping=stale)
    models_base(ApiKey).update(changed_at=timezone.now() - timedelta(minutes=minutes_ago))
    for seconds, mends in ((59, False), (61, is_mended)):
        monkeypatch.setattr(ledger_worker, "monotonic", lambda at=began + seconds: at)
        worker.turn()
        facts = redis_db.hget(account, names.field(names.FACTS, issued.key.public_id))
        assert ('"revoked":true' in facts) is mends


def test_masters_in_a_different_order_are_the_same_redis(monkeypatch):
    masters = [{"run_id": "one"}, {"run_id": "two"}, {}]
    identities = set()
    for order in permutations(masters):
        monkeypatch.setattr(clients, "infos", lambda *_, found=order: list(found))
        identities.add(ledger_worker._identity(None))
    assert len(identities) == 1
    monkeypatch.setattr(clients, "infos", lambda *_: [{"run_id": "one"}, {"run_id": "three"}, {}])
    assert ledger_worker._identity(None) not in identities


@pytest.mark.parametrize("raw", [{}, {"a": "3"}, {"r": "2", "r:unknown_model": "2"}])
def test_a_hash_without_a_birth_is_of_no_counter_and_not_kept(issued, raw):
    ledger.keep_hours([ledger.CountedHour("", issued.key.public_id, "sm", clock.hour(), raw)])
    assert not UsageHour.objects.exists() and not RefusalHour.objects.exists()


@pytest.mark.parametrize(("hours_ago", "kept"), [(0, 86_400), (1, 86_400), (2, 7200), (30, 7200)])
def test_only_what_no_gate_counts_in_any_more_leaves_redis_soon(issued, redis_db, hours_ago, kept):
    """A gate may still count in the last hour; if the worker stopped now, that must wait for it as long as ever."""
    key = issued.key.public_id
    name = names.usage(key, "sm", hour_of(datetime.now(UTC)) - hours_ago)
    redis_db.hset(name, mapping={"a": 1, "b": 1})
    redis_db.expire(name, 86_400)
    redis_db.sadd(names.changed(key[:2]), name)
    assert ledger.copy_usage([key[:2]]).hashes == 1
    assert redis_db.ttl(name) == pytest.approx(kept, abs=60)


@pytest.mark.parametrize("count", ["a", "r", "s", "x", "b"])
def test_a_hash_in_which_anything_was_counted_since_it_was_read_is_copied_again(issued, redis_db, count):
    key = issued.key.public_id
    name, changed = names.usage(key, "sm", hour_of(datetime.now(UTC))), names.changed(key[:2])
    redis_db.hset(name, mapping={"a": 1, "b": 1})
    redis_db.sadd(changed, name)
    hours = ledger._read([name])
    redis_db.hincrby(name, count, 1)
    ledger._forget(hours)
    assert redis_db.sismember(changed, name)
    ledger._forget(ledger._read([name]))
    assert not redis_db.sismember(changed, name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("r:unknown_model", ("unknown_model", "")),
        ("l:account:a-model_v1.5:units:month", ("over_limit", "account:a-model_v1.5:units:month")),
        ("s:key:*:requests:second", ("shadow_refused", "key:*:requests:second")),
        (f"l:key:{'m' * 63}:requests:day", ("over_limit", f"key:{'m' * 63}:requests:day")),
        (f"l:key:{'m' * 64}:requests:day", None),
        ("l:key:sm:requests:week", None),
        (f"r:{'x' * 33}", None),
        ("u:7", None),
    ],
)
def test_the_reason_of_a_refusal_is_read_from_the_name_of_its_count(name, reason):
    hour = ledger.CountedHour("", "AAAAAAAAkkkkkkk1", "sm", 400_000, {"b": "5", name: "3"})
    assert [row[4:] for row in hour.refusals()] == ([] if reason is None else [(5, *reason, 3)])
