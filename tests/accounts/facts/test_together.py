"""Many keys read together have the same facts as each of them read alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.facts import delivery, snapshot, together
from accounts.facts.together import keys_for_facts, read_keys, read_together
from accounts.models import Account, ApiKey, OutboxRow
from accounts.services.accounts import close_account, create_account, override_limit
from accounts.services.keys import issue_key, revoke_key, rotate_key
from quotas.limits import CALENDAR, SCOPES, UNITS, Limit, calendar_window, hour_of
from quotas.models import Plan, UsageHour
from runtime.among import among
from store import names
from tests.accounts.facts.test_snapshot import QUOTAS
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def many(catalogue):
    """Accounts with keys of every kind, and usage of most."""
    catalogue(QUOTAS)
    chance = random.Random(7)
    plan = Plan.objects.get(name="free")
    for number in range(4):
        account, _ = create_account(f"account {number}", plan, actor=ACTOR)
        keys = [
            issue_key(account, name="plain", actor=ACTOR).key,
            issue_key(account, name="narrow", actor=ACTOR, models=["sm"], networks=["10.0.0.0/8"], methods=["GET"]).key,
            issue_key(
                account,
                name="limited",
                actor=ACTOR,
                expires_at=timezone.now() + timedelta(days=1),
                limits=[Limit(name="own", scope="key", amount=9, window="day", model="sm")],
            ).key,
            issue_key(account, name="revoked", actor=ACTOR).key,
        ]
        rotate_key(keys[0], grace=timedelta(days=1), actor=ACTOR)
        revoke_key(keys[3], actor=ACTOR)
        for key in keys:
            _use(key.public_id, chance)
    first, *_, last = Account.objects.order_by("pk")
    override_limit(first, "month", 77, actor=ACTOR)
    close_account(last, actor=ACTOR)


def _use(key: str, chance: random.Random) -> None:
    start = calendar_window("month", hour_of(datetime.now(UTC))).start
    hours = [start - 3600, start, int(timezone.now().timestamp()) // 3600 * 3600]
    for hour in dict.fromkeys(hours):
        for model in ("sm", "lg"):
            allowed = chance.randrange(50)
            UsageHour.objects.create(
                account=key[:8], key=key, model=model, birth=1, allowed=allowed, units=allowed * 3,
                hour=datetime.fromtimestamp(hour, UTC),
            )  # fmt: skip


def test_facts_and_counters_are_those_of_each_key_read_alone(many):
    whose = read_together(among("pk", Account.objects.values_list("pk", flat=True)))
    read = list(read_keys(keys_for_facts(), whose))
    assert len(read) == 16
    assert any(counter.taken for _, part in read for counter in part.counters)
    for key, part in read:
        alone = snapshot.read_all(key.public_id)
        assert (alone.key, alone.account) == (part, whose.parts[key.account_id])


def test_the_keys_of_accounts_are_read_page_by_page_each_once(many, monkeypatch):
    accounts = list(Account.objects.values_list("pk", flat=True))[1:]
    wanted = sorted(ApiKey.objects.filter(account_id__in=accounts).values_list("account_id", "pk"))
    for page in (1, 2, 3, 4, 5, 100):
        monkeypatch.setattr(together, "PAGE", page)
        assert [(account, pk) for pk, account, *_ in together.keys_of_accounts(accounts)] == wanted


def test_more_keys_take_no_more_queries(many, catalogue):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            delivery._publish_accounts_with_keys(list(Account.objects.values_list("pk", flat=True)))
        return len(captured)

    before = queries()
    account = Account.objects.order_by("pk")[1]
    for _ in range(5):
        issue_key(account, name="more", actor=ACTOR)
    assert queries() == before


def test_many_accounts_are_published_together_and_their_later_versions_stay(many, redis_db):
    account, *_ = Account.objects.order_by("pk")
    for number in range(20):
        create_account(f"more {number}", account.plan, actor=ACTOR)
    names_of = list(Account.objects.values_list("public_id", flat=True))
    redis_db.flushdb()
    OutboxRow.objects.create(part="account", subject=account.public_id, version=account.version)
    later = OutboxRow.objects.create(part="account", subject=account.public_id, version=account.version + 1)
    with CaptureQueriesContext(connection) as captured:
        delivery.deliver_parts(("account", public_id) for public_id in names_of)
    assert len(captured) < len(names_of)
    assert [row.pk for row in OutboxRow.objects.all()] == [later.pk]
    for public_id in names_of:
        found = snapshot.read_account_alone(public_id).account
        assert found is not None and redis_db.hget(names.account(public_id), "f") == found.json
        assert int(redis_db.get(names.catalogue_version(names.partition(public_id)))) > 0


def test_progress_is_logged_while_everything_is_published(many, monkeypatch, caplog):
    monkeypatch.setattr(delivery, "_TELL_SECONDS", 0)
    monkeypatch.setattr(delivery, "BATCH", 3)
    caplog.set_level("INFO")
    assert delivery.publish_everything() == 1 + 4 + ApiKey.objects.count()
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("published")]
    assert [line.split(",")[0] for line in told] == [
        "published 3 of 4 accounts with their keys",
        "published 4 of 4 accounts with their keys",
    ]


def test_what_was_taken_from_each_kind_of_limit_is_told_apart_from_the_others(many):
    """Whichever is asked for first: what is read for one kind must not answer for another."""
    (account, *_), hour = Account.objects.order_by("pk"), hour_of(datetime.now(UTC))
    key = account.keys.earliest("pk")
    kinds = list(product(SCOPES, ("*", "sm", "lg"), UNITS, CALENDAR))
    for order in (kinds, kinds[::-1]):
        taken = together.TakenTogether([account.public_id])
        for scope, model, unit, window in order:
            limit = Limit(name="x", scope=scope, model=model, unit=unit, window=window, amount=1)
            subject = key.public_id if scope == "key" else account.public_id
            when = calendar_window(window, hour)
            assert taken(subject, limit, when) == snapshot.taken_by_usage(subject, limit, when), limit
