"""What the worker deletes, what it keeps, and that it deletes in small batches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import AuditEvent, ImportJob, ImportLine, Invitation, KeptAnswer, Notification, User
from accounts.services import audit, sweeping
from accounts.services.accounts import suspend_account
from accounts.services.invitations import invite
from accounts.services.keys import change_key
from quotas.limits import Limit
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db

NOW = timezone.now


def test_audit_rows_are_kept_forever_unless_the_setting_limits_it(account, settings):
    models_base(AuditEvent).update(at=NOW() - timedelta(days=4000))
    sweeping.sweep()
    assert (kept := AuditEvent.objects.count())
    settings.AUDIT_KEEP_DAYS = 4001
    sweeping.sweep()
    assert AuditEvent.objects.count() == kept
    settings.AUDIT_KEEP_DAYS = 3999
    suspend_account(account, actor=ACTOR)
    sweeping.sweep()
    assert [event.act for event in AuditEvent.objects.all()] == ["account.suspend"]


def test_the_admins_own_log_is_swept_too(account, settings):
    settings.AUDIT_KEEP_DAYS = 10
    user = User.objects.create_user("root")
    for days in (9, 11):
        entry = LogEntry.objects.create(user=user, action_flag=1, object_repr="x")
        LogEntry.objects.filter(pk=entry.pk).update(action_time=NOW() - timedelta(days=days))
    sweeping.sweep()
    assert LogEntry.objects.count() == 1


def test_a_sweep_deletes_whatever_has_expired_and_says_how_much(account, settings):
    settings.AUDIT_KEEP_DAYS = 10
    long_ago, person = NOW() - timedelta(days=400), User.objects.create_user("joe")
    Session.objects.create(session_key="old", session_data="x", expire_date=long_ago)
    KeptAnswer.objects.create(caller="c", key="k", fingerprint="f", pepper="p", nonce="n", status=200, body={})
    Notification.objects.create(user=person, kind="new_place", subject="s", moment=long_ago)
    invite(account, email="guest@example.org", role="member", actor=ACTOR)
    ImportJob.objects.create(public_id="x" * 16, actor="a", is_dry_run=False, state="done", finished_at=long_ago)
    KeptAnswer.objects.update(created_at=long_ago)
    Notification.objects.update(created_at=long_ago)
    Invitation.objects.update(expires_at=long_ago)
    models_base(AuditEvent).update(at=long_ago)
    count = AuditEvent.objects.count()
    assert sweeping.sweep() == 5 + count
    kinds: tuple[type[Model], ...] = (Session, KeptAnswer, Notification, Invitation, ImportJob, AuditEvent)
    assert not any(kind._base_manager.exists() for kind in kinds)


def test_expired_sessions_are_deleted(db):
    for key, hours in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, session_data="x", expire_date=NOW() + timedelta(hours=hours))
    assert sweeping.sweep_sessions() == 1
    assert Session.objects.get().session_key == "new"


def test_invitations_that_ended_long_ago_are_deleted_and_open_ones_are_kept(account):
    open_one, old, withdrawn, lately = (
        invite(account, email=f"{name}@example.org", role="member", actor=ACTOR) for name in ("a", "b", "c", "d")
    )
    long_ago = NOW() - timedelta(days=91)
    Invitation.objects.filter(pk=old.pk).update(expires_at=long_ago)
    Invitation.objects.filter(pk=withdrawn.pk).update(withdrawn_at=long_ago)
    Invitation.objects.filter(pk=lately.pk).update(withdrawn_at=NOW())
    assert sweeping.sweep_invitations() == 2
    assert set(Invitation.objects.all()) == {open_one, lately}


DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("ago", "stays"),
    [
        ({"expires_at": 90 * DAY - MINUTE}, True),
        ({"expires_at": 90 * DAY + MINUTE}, False),
        ({"withdrawn_at": 90 * DAY - MINUTE}, True),
        ({"withdrawn_at": 90 * DAY + MINUTE}, False),
        ({"accepted_at": 90 * DAY - MINUTE, "expires_at": 95 * DAY}, True),
        ({"accepted_at": 90 * DAY + MINUTE}, False),
    ],
)
def test_an_invitation_is_kept_for_90_days_after_its_end(account, ago, stays):
    invite(account, email="guest@example.org", role="member", actor=ACTOR)
    Invitation.objects.update(**{name: NOW() - before for name, before in ago.items()})
    sweeping.sweep_invitations()
    assert Invitation.objects.exists() is stays


@pytest.mark.parametrize(
    ("state", "ago", "stays"),
    [
        ("done", {"finished_at": 30 * DAY - MINUTE}, True),
        ("done", {"finished_at": 30 * DAY + MINUTE}, False),
        ("receiving", {"created_at": HOUR - MINUTE}, True),
        ("receiving", {"created_at": HOUR + MINUTE}, False),
        ("waiting", {"created_at": 400 * DAY}, True),
        ("running", {"created_at": 400 * DAY}, True),
    ],
)
def test_a_report_is_kept_for_30_days_and_an_upload_has_an_hour(db, state, ago, stays):
    ImportJob.objects.create(public_id="x" * 16, actor="a", is_dry_run=False, state=state)
    ImportJob.objects.update(**{name: NOW() - before for name, before in ago.items()})
    sweeping.sweep_imports()
    assert ImportJob.objects.exists() is stays


def test_a_reports_lines_are_deleted_before_its_import(account, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 2)
    monkeypatch.setattr(sweeping, "MOST_BATCHES", 2)
    job = ImportJob.objects.create(public_id="x" * 16, actor="a", is_dry_run=False, state="done")
    ImportJob.objects.update(finished_at=NOW() - timedelta(days=31))
    ImportLine.objects.bulk_create(ImportLine(job=job, number=number) for number in range(5))
    assert sweeping.sweep_imports() == 4
    assert (ImportJob.objects.count(), ImportLine.objects.count()) == (1, 1)
    assert sweeping.sweep_imports() == 2
    assert not ImportJob.objects.exists()


def test_each_batch_is_limited_and_a_transaction_of_its_own(db, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 3)
    old = NOW() - timedelta(hours=1)
    Session.objects.bulk_create(Session(session_key=str(one), session_data="x", expire_date=old) for one in range(7))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert sweeping.sweep_sessions() == 7
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletes) == 3


# What a row of the log contains


def test_a_row_contains_only_what_changed(issued):
    change_key(issued.key, name="other", methods=["GET"], actor=ACTOR)
    event = AuditEvent.objects.latest("id")
    assert event.before == {"name": "first", "methods": []}
    assert event.after == {"name": "other", "methods": ["GET"]}


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ({"models": ["sm"]}, {"models": None}, {"models": ["sm"]}),
        ({"networks": ["203.0.113.0/24"]}, {"networks": []}, {"networks": ["203.0.113.0/24"]}),
        (
            {"limits": [Limit(name="mine", scope="key", amount=5, window="day")]},
            {"limits": {}},
            {"limits": {"mine": "5/day"}},
        ),
        (
            {"expires_at": datetime(2999, 1, 1, tzinfo=UTC)},
            {"expires_at": None},
            {"expires_at": "2999-01-01T00:00:00+00:00"},
        ),
    ],
    ids=["models", "networks", "limits", "expires_at"],
)
def test_each_thing_that_a_key_is_bound_to_is_recorded(issued, change, before, after):
    change_key(issued.key, **change, actor=ACTOR)
    event = AuditEvent.objects.latest("id")
    assert (event.before, event.after) == (before, after)


def test_changed_metadata_is_mentioned_but_not_copied(issued):
    change_key(issued.key, metadata={"note": "x" * 8000}, actor=ACTOR)
    event = AuditEvent.objects.latest("id")
    assert (event.before, event.after) == ({}, {"metadata": "changed"})


def test_the_longest_values_are_left_out_of_a_row_that_is_too_long():
    before, after = audit.changes({"a": "x" * 5000, "b": "short"}, {"a": "y" * 3000, "b": "other"})
    assert (before["b"], after) == ("short", {"a": "y" * 3000, "b": "other"})
    assert len(str(before)) < 100


def test_a_row_may_be_exactly_as_long_as_it_is_allowed_to_be():
    fits = "x" * (audit.MOST_BYTES - 2)  # with its quotes
    assert audit.bounded({"a": fits}) == {"a": fits}
    assert audit.bounded({"a": fits + "x"}) != {"a": fits + "x"}


@pytest.mark.parametrize(("days", "words"), [(0, "kept forever"), (30, "kept for 30 days")])
def test_the_audit_page_shows_the_size_of_its_table(account, settings, days, words):
    settings.AUDIT_KEEP_DAYS = days
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/accounts/auditevent/").content.decode()
    assert words in page
    assert audit.table_bytes() is None or "The table takes up" in page
