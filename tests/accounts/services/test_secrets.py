"""What the worker does with the digests that gates have left, and which peppers are still needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from accounts.facts import publish
from accounts.models import KeySecret
from accounts.peppers import peppers
from accounts.services import secrets
from accounts.services.accounts import close_account
from accounts.services.credentials import make_management_key, revoke_credential
from accounts.services.keys import end_rotation, issue_key, revoke_key, rotate_key
from accounts.services.secrets import needed_peppers, note_last_uses, store_new_digests
from quotas.usage.ledger import LastUse
from store import names
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

PARTITION = "AA"
NEW = "another-pepper-" + "y" * 40


@pytest.fixture
def old_and_new(issued, settings, redis_db) -> KeySecret:
    """A secret under the old pepper, which gates still know."""
    settings.KEY_PEPPER, settings.KEY_PEPPER_OLD = NEW, settings.KEY_PEPPER
    return KeySecret.objects.get()


def leave(redis_db, secret: KeySecret, pepper: str, digest: str = "ab" * 28) -> int:
    """As a gate does, then let the worker come by. Returns how many it stored."""
    redis_db.hset(names.new_digests(PARTITION), str(secret.pk), f"{pepper}:{digest}")
    stored = store_new_digests([PARTITION])
    assert not redis_db.exists(names.new_digests(PARTITION))
    return stored


def test_a_digest_under_the_current_pepper_replaces_the_old_one(old_and_new, redis_db):
    new, old = peppers()
    assert old_and_new.pepper == old.id
    assert leave(redis_db, old_and_new, new.id) == 1
    secret = KeySecret.objects.get()
    assert (secret.pepper, secret.digest, secret.minted_pepper) == (new.id, "ab" * 28, old.id)


@pytest.mark.parametrize("of", ["a pepper of long ago", "the old pepper"])
def test_a_digest_under_any_other_pepper_is_thrown_away(old_and_new, redis_db, of):
    """A gate that was not restarted yet may still leave some after the pepper was changed again."""
    pepper = peppers()[1].id if of == "the old pepper" else "long-ago"
    assert leave(redis_db, old_and_new, pepper) == 0
    assert KeySecret.objects.get().digest == old_and_new.digest


def test_the_catalogue_is_published_for_the_first_key_that_changes_its_pepper_alone(
    account, old_and_new, redis_db, settings, monkeypatch
):
    """From then on, gates leave a key whose check they cannot verify to the comparison of digests."""
    published: list[bool] = []
    of_catalogue = publish.Publication.of_catalogue

    def note(self) -> None:
        published.append(True)
        of_catalogue(self)

    settings.KEY_PEPPER, settings.KEY_PEPPER_OLD = settings.KEY_PEPPER_OLD, settings.KEY_PEPPER
    second = KeySecret.objects.get(key=issue_key(account, name="second", actor=ACTOR).key)
    settings.KEY_PEPPER, settings.KEY_PEPPER_OLD = settings.KEY_PEPPER_OLD, settings.KEY_PEPPER
    monkeypatch.setattr(publish.Publication, "of_catalogue", note)
    for secret, digest in ((old_and_new, "ab" * 28), (second, "cd" * 28)):
        assert leave(redis_db, secret, peppers()[0].id, digest) == 1
        assert published == [True]


AT, LATER, EARLIER = (datetime(2026, 3, 10, 12, 0, second, tzinfo=UTC) for second in (5, 6, 4))


@pytest.mark.parametrize(
    ("use", "kept"),
    [
        ((LATER, "203.0.113.2"), (LATER, "203.0.113.2")),
        ((EARLIER, "203.0.113.2"), (AT, "203.0.113.1")),
        ((AT, "203.0.113.2"), (AT, "203.0.113.2")),  # in the same second
        ((AT, None), (AT, "203.0.113.1")),
    ],
)
def test_a_later_use_replaces_an_earlier_one_and_never_the_other_way_round(issued, use, kept):
    secret = KeySecret.objects.get()
    note_last_uses({secret.pk: LastUse(AT, "203.0.113.1")})
    note_last_uses({secret.pk: LastUse(*use)})
    secret.refresh_from_db()
    assert (secret.last_used_at, secret.last_used_from) == kept


def test_only_what_still_works_needs_its_pepper(account, issued, redis_db):
    credential, _ = make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    assert needed_peppers() == {peppers()[0].id: 2}
    revoke_credential(credential, actor=ACTOR)
    assert needed_peppers() == {peppers()[0].id: 1}
    revoke_key(issued.key, actor=ACTOR)
    assert needed_peppers() == {}


def test_a_secret_whose_grace_has_ended_needs_no_pepper(issued):
    rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    assert needed_peppers() == {peppers()[0].id: 2}
    end_rotation(issued.key, actor=ACTOR)
    assert needed_peppers() == {peppers()[0].id: 1}


def test_a_digest_that_could_not_be_stored_is_stored_by_the_next_turn(old_and_new, redis_db, monkeypatch):
    def fail(*_):
        raise OperationalError("gone")

    with monkeypatch.context() as patched, pytest.raises(OperationalError):
        patched.setattr(secrets, "_store_new_digest", fail)
        leave(redis_db, old_and_new, peppers()[0].id)
    assert store_new_digests([PARTITION]) == 1
    assert not redis_db.exists(names.new_digests(PARTITION))


def test_what_was_used_before_its_account_was_closed_is_no_longer_noted(account, issued):
    close_account(account, actor=ACTOR)
    secret = KeySecret.objects.get()
    note_last_uses({secret.pk: LastUse(AT, "203.0.113.1")})
    secret.refresh_from_db()
    assert (secret.last_used_at, secret.last_used_from) == (None, None)
