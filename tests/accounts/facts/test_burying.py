"""A revoked key and a closed account give back what they took up in Redis, and are refused in the same words."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.facts import delivery, publish, snapshot
from accounts.facts.publish import change, models_base
from accounts.ledger_worker import Worker
from accounts.models import Account, ApiKey, OutboxRow
from accounts.services.accounts import close_account
from accounts.services.closing import close_and_erase
from accounts.services.keys import change_key, issue_key, revoke_key
from quotas.limits import Limit
from store import names
from tests.conftest import ACTOR, import_one
from tests.gate.conftest import ask  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS = [
    Limit(name="day", scope="key", amount=1000, window="day", unit="requests", model="*"),
    Limit(name="sm", scope="key", amount=1000, window="month", unit="units", model="sm"),
]


@pytest.fixture
def used(account, ask):  # noqa: F811
    """A key with all that a key may have, and what a call of it leaves."""
    issued = issue_key(account, name="used", actor=ACTOR, limits=LIMITS, networks=[f"203.0.113.{n}" for n in range(20)])
    assert ask(issued.text).status == 200
    return issued


def hash_of(redis_db, account: Account) -> dict[str, str]:
    found: dict[str, str] = redis_db.hgetall(names.account(account.public_id))
    return found


def fields_of(redis_db, key: ApiKey) -> dict[str, str]:
    found = hash_of(redis_db, key.account)
    return {name: value for name, value in found.items() if key.public_id[8:] in name}


@pytest.fixture
def words(monkeypatch) -> list[str]:
    """The word of each decision, as metrics and the log have it."""
    found: list[str] = []
    monkeypatch.setattr(
        "authsvc.gate.measure.Measured.note", lambda _, decision, __: found.append(decision.verdict.word)
    )
    return found


def test_a_revoked_key_shrinks_to_a_version_and_a_word(used, redis_db):
    before = fields_of(redis_db, used.key)
    assert {name[0] for name in before} == set("vflnws")
    revoke_key(used.key, actor=ACTOR)
    after = fields_of(redis_db, used.key)
    assert {name[0] for name in after} == {"v", "f"}
    assert sum(map(len, after.values())) < 160 < sum(map(len, before.values()))
    assert hash_of(redis_db, used.key.account)["l"]  # the account goes on


def test_counters_of_limits_that_the_key_had_before_go_too(used, redis_db):
    change_key(used.key, limits=[], actor=ACTOR)
    assert {name[0] for name in fields_of(redis_db, used.key)} >= set("nws")
    revoke_key(used.key, actor=ACTOR)
    assert {name[0] for name in fields_of(redis_db, used.key)} == {"v", "f"}


@pytest.mark.parametrize("cold", [False, True])
def test_the_gate_says_revoked_key_whatever_it_remembers(used, ask, redis_db, on_a_loop, words, cold):  # noqa: F811
    from authsvc.gate.app import close_gate

    revoke_key(used.key, actor=ACTOR)
    if cold:
        on_a_loop(close_gate())
    assert (ask(used.text).status, words[-1]) == (401, "revoked_key")
    redis_db.flushdb()
    assert (ask(used.text).status, words[-1]) == (401, "revoked_key")


CLOSINGS = {"status": close_account, "erase": close_and_erase}


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_closed_account_shrinks_with_its_keys(used, ask, redis_db, words, closing):  # noqa: F811
    expired = issue_key(used.key.account, name="old", actor=ACTOR)
    models_base(ApiKey).filter(pk=expired.key.pk).update(expires_at=timezone.now() - timedelta(days=1))
    account = Account.objects.get()
    CLOSINGS[closing](account, actor=ACTOR)
    assert not OutboxRow.objects.exists()
    left = hash_of(redis_db, account)
    assert {name.partition(":")[0] for name in left} == {"v", "f"} and len(left) == 6
    assert max(map(len, left.values())) < 180
    assert (ask(used.text).status, words[-1]) == (403, "account_closed")
    assert (ask(expired.text).status, words[-1]) == (401, "expired_key")


def test_the_words_of_explain_stay(used):
    from authsvc.gate.explain import Scenario, explain

    revoke_key(used.key, actor=ACTOR)
    told = explain(Scenario(key_id=used.key.public_id, model="sm", path="", method="POST", address="203.0.113.1"))
    assert (told.verdict.word, told.known is not None) == ("revoked_key", True)


def test_a_reader_that_came_late_brings_nothing_back(used, account, redis_db, monkeypatch):
    catalogue = snapshot.read_catalogue()
    late_account = snapshot.read_account(account, catalogue)
    late_key = snapshot.read_key(ApiKey.objects.select_related("account__plan").get(), late_account, catalogue)
    revoke_key(used.key, actor=ACTOR)
    close_account(account, actor=ACTOR)
    before = hash_of(redis_db, account)
    delivery.send(
        [
            *delivery.key_commands(used.key.public_id, late_key),
            delivery.account_command(account.public_id, late_account),
        ]
    )
    assert hash_of(redis_db, account) == before


def test_facts_that_are_not_the_ones_in_force_give_nothing_back(used, redis_db):
    """An older copy of the database may say that a key is revoked that Redis knows newer facts of."""
    key = ApiKey.objects.select_related("account__plan").get()
    key.revoked_at, key.version = timezone.now(), 0
    catalogue = snapshot.read_catalogue()
    part = snapshot.read_key(key, snapshot.read_account(key.account, catalogue), catalogue)
    before = hash_of(redis_db, key.account)
    delivery.send(delivery.key_commands(key.public_id, part))
    assert hash_of(redis_db, key.account) == before


def test_everything_published_again_is_as_small(used, account, redis_db):
    other = issue_key(account, name="other", actor=ACTOR)
    revoke_key(other.key, actor=ACTOR)
    redis_db.flushdb()
    delivery.publish_everything()
    assert {name[0] for name in fields_of(redis_db, other.key)} == {"v", "f"}
    assert {name[0] for name in fields_of(redis_db, used.key)} == set("vflnws")


def test_a_reopened_account_is_published_in_full(used, ask, redis_db, words):  # noqa: F811
    account = Account.objects.get()
    revoked = issue_key(account, name="revoked", actor=ACTOR)
    revoke_key(revoked.key, actor=ACTOR)
    close_account(account, actor=ACTOR)
    assert ask(used.text).status == 403
    with change() as publication:
        models_base(Account).filter(pk=account.pk).update(closed_at=None)
        account.refresh_from_db()
        publication.of_account_with_keys(account)
    assert not publication.is_pending
    assert ask(used.text).status == 200
    assert (ask(revoked.text).status, words[-1]) == (401, "revoked_key")
    assert {name[0] for name in fields_of(redis_db, used.key)} == set("vflnws")
    taken = [value for name, value in fields_of(redis_db, used.key).items() if name.startswith("n:")]
    assert set(taken) == {"1"}  # the worker had copied nothing of the call before


def test_what_was_used_before_the_closing_is_used_after_it(used, ask, redis_db):  # noqa: F811
    Worker().turn()  # which copies usage
    account = Account.objects.get()
    close_account(account, actor=ACTOR)
    with change() as publication:
        models_base(Account).filter(pk=account.pk).update(closed_at=None)
        account.refresh_from_db()
        publication.of_account_with_keys(account)
    assert ask(used.text).status == 200
    taken = [value for name, value in fields_of(redis_db, used.key).items() if name.startswith("n:")]
    assert set(taken) == {"2"}


def test_closing_publishes_each_key_at_a_version_of_its_own(used, redis_db, caplog):
    """Redis would take the same version for a database that is behind, and the facts would be published twice."""
    before = ApiKey.objects.get().version
    close_account(used.key.account, actor=ACTOR)
    assert ApiKey._base_manager.get().version == before + 1
    assert fields_of(redis_db, used.key)[names.field("v", used.key.public_id)] == str(before + 1)
    assert [record.getMessage() for record in caplog.records if "later" in record.getMessage()] == []


def test_the_keys_of_a_large_account_are_left_to_the_worker_and_refused_at_once(used, ask, redis_db, monkeypatch):  # noqa: F811
    monkeypatch.setattr(publish, "AT_ONCE", 1)
    issue_key(used.key.account, name="other", actor=ACTOR)
    account = Account.objects.get()
    assert not close_account(account, actor=ACTOR).is_pending
    assert OutboxRow.objects.count() == 2
    assert ask(used.text).status == 403
    Worker().turn()
    assert not OutboxRow.objects.exists()
    assert {name[0] for name in fields_of(redis_db, used.key)} == {"v", "f"}
    assert ask(used.text).status == 403


def test_a_key_without_secrets_of_an_account_that_is_open_is_refused(used, ask, redis_db):  # noqa: F811
    """As between the two publications of an account that is opened again."""
    name, field = names.account(used.key.public_id[:8]), names.field("f", used.key.public_id)
    facts = json.loads(redis_db.hget(name, field)) | {"secrets": [], "version": 2}
    redis_db.hset(name, mapping={field: json.dumps(facts), names.field("v", used.key.public_id): 2})
    assert ask(used.text).status == 401


def test_a_revoked_key_of_another_system_is_still_found_in_a_redis_that_lost_its_data(account, redis_db):
    """Its string tells nobody whose it is, so without that it would be unknown instead of revoked."""
    key = import_one(account).key
    digest = key.secrets.get().digest
    revoke_key(key, actor=ACTOR)
    redis_db.flushdb()
    delivery.publish_everything()
    assert redis_db.get(names.imported(digest)) == key.public_id


def test_a_key_of_a_closed_account_is_not_called_revoked(used, account, redis_db):
    close_account(account, actor=ACTOR)
    facts = json.loads(fields_of(redis_db, used.key)[names.field("f", used.key.public_id)])
    assert (facts["revoked"], facts["secrets"]) == (False, [])
