"""Who gets keys, and what lives on of a key's old secrets when it is rotated again and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account, ApiKey, AuditEvent, ManagementKey, OutboxRow, User
from accounts.refused import Refused
from accounts.services import keys
from accounts.services.accounts import close_account
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key
from accounts.services.keys import (
    change_key,
    end_rotation,
    issue_key,
    pause_key,
    resume_key,
    revoke_key,
    rotate_key,
)
from store import names
from tests.conftest import ACTOR, import_one

WAYS_TO_A_KEY: dict[str, Callable[..., Any]] = {
    "issued": lambda account, actor=ACTOR: issue_key(account, name="k", actor=actor),
    "imported": lambda account, actor=ACTOR: import_one(account, actor=actor),
    "management": lambda account, actor=ACTOR: make_management_key(
        account, name="k", scopes=["keys:read"], actor=actor
    ),
}


@pytest.mark.parametrize("way", WAYS_TO_A_KEY)
def test_a_closed_account_gets_no_key_of_any_kind(account, way):
    close_account(account, actor=ACTOR)
    with pytest.raises(Refused, match="is closed and can't get new keys"):
        WAYS_TO_A_KEY[way](account)
    assert not ApiKey.objects.exists() and not ManagementKey.objects.exists()


def test_a_name_is_kept_without_the_blanks_around_it(account, issued):
    change_key(issued.key, name=" nightly  run\t", actor=ACTOR)
    issue_key(account, name="  other ", actor=ACTOR)
    assert sorted(ApiKey.objects.values_list("name", flat=True)) == ["nightly  run", "other"]


@pytest.mark.parametrize("way", ["issued", "imported"])
def test_a_new_key_records_the_person_and_the_credential_behind_it(account, way):
    mara = User.objects.create_user("mara")
    owners, _ = make_management_key(account, name="k", scopes=["keys:write"], actor=ACTOR)
    key = WAYS_TO_A_KEY[way](account, Actor("mara", user=mara, credential=owners)).key
    key.refresh_from_db()
    assert (key.created_by, key.made_with) == (mara, owners.public_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["issued", "imported"])
def test_a_new_key_is_in_redis_when_its_maker_hears_of_it(account, redis_db, way):
    made = WAYS_TO_A_KEY[way](account)
    fields = [names.field(kind, made.key.public_id) for kind in (names.VERSION, names.FACTS)]
    version, facts = redis_db.hmget(names.account(account.public_id), fields)
    assert (version, json.loads(facts)["public_id"]) == ("1", made.key.public_id)
    assert not made.publication.is_pending and not OutboxRow.objects.exists()


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("models", ["sm", "lg", "sm"], ["sm", "lg"]),
        ("methods", ["POST", "GET", "POST"], ["POST", "GET"]),
        ("networks", ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.0/24"], ["192.0.2.1/32", "192.0.2.0/24"]),
    ],
)
def test_what_a_key_is_narrowed_to_is_kept_once_in_the_order_given(pro_key, field, given, kept):
    change_key(pro_key.key, actor=ACTOR, **{field: given})
    key = ApiKey.objects.get()
    assert (key.narrowed_to if field == "models" else getattr(key, field)) == kept


def living(key):
    now = timezone.now()
    return [secret.start for secret in key.secrets.all() if secret.expires_at is None or secret.expires_at > now]


def test_a_second_rotation_without_a_grace_ends_the_longer_grace_of_the_first(issued):
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    newest = rotate_key(issued.key, grace=timedelta(0), actor=ACTOR)
    assert issued.key.secrets.filter(expires_at=None).count() == 1
    assert len(living(issued.key)) == 1 and newest.text.startswith(living(issued.key)[0])


def test_a_second_rotation_with_a_shorter_grace_shortens_the_first(issued):
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    ends = [secret.expires_at for secret in issued.key.secrets.exclude(expires_at=None)]
    assert ends and max(ends) <= timezone.now() + timedelta(hours=1)


def test_a_second_rotation_with_a_longer_grace_lengthens_nothing(issued):
    rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    first = issued.key.secrets.exclude(expires_at=None).get()
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    assert issued.key.secrets.get(pk=first.pk).expires_at <= first.expires_at


@pytest.mark.parametrize("grace", [timedelta(days=7), timedelta(seconds=1)])
def test_an_ended_rotation_leaves_the_newest_secret_alone_and_is_written_down(issued, grace):
    newest = rotate_key(issued.key, grace=grace, actor=ACTOR)
    end_rotation(issued.key, actor=ACTOR)
    assert len(living(issued.key)) == 1 and newest.text.startswith(living(issued.key)[0])
    assert AuditEvent.objects.filter(act="key.end_rotation", subject=issued.key.public_id).count() == 1


@pytest.mark.parametrize("grace", [timedelta(0), timedelta(hours=1), timedelta(days=7)])
def test_the_audit_log_tells_until_when_the_old_secret_works(issued, grace):
    old = issued.key.secrets.get()
    rotate_key(issued.key, grace=grace, actor=ACTOR)
    old.refresh_from_db()
    event = AuditEvent.objects.get(act="key.rotate")
    assert event.after == {"old_until": old.expires_at.isoformat()}


def test_a_form_that_is_sent_again_issues_nothing_though_its_key_was_revoked(account):
    key = issue_key(account, name="k", key_id="kkkkkkk1", actor=ACTOR).key
    revoke_key(key, actor=ACTOR)
    with pytest.raises(Refused, match="has already been issued"):
        issue_key(account, name="k", key_id="kkkkkkk1", actor=ACTOR)


def test_a_change_that_may_revive_a_key_locks_its_account_first(issued, monkeypatch):
    """As everybody does, so that two of them neither pass the cap together nor wait for each other."""
    locked: list[object] = []
    monkeypatch.setattr(keys, "lock", lambda row: locked.append(type(row)))
    change_key(issued.key, expires_at=None, actor=ACTOR)
    assert locked == [Account, ApiKey]
    change_key(issued.key, name="other", actor=ACTOR)
    assert locked[2:] == [ApiKey]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", [pause_key, resume_key, revoke_key, end_rotation])
def test_an_act_that_is_repeated_is_published_again(issued, redis_db, act):
    """Whoever repeats it may have heard the first time that it was pending."""
    field, held = names.field(names.FACTS, issued.key.public_id), names.account(issued.key.public_id[:8])
    act(issued.key, actor=ACTOR)
    redis_db.hdel(held, field, names.field(names.VERSION, issued.key.public_id))
    act(issued.key, actor=ACTOR)
    assert redis_db.hexists(held, field)
