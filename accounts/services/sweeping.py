"""Deletion of expired rows by the worker: a few per transaction, so that nobody waits for a long lock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import Q
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import AuditEvent, ImportJob, ImportLine, Invitation, KeptAnswer, Notification

BATCH = 500
MOST_BATCHES = 20  # of one kind in one sweep; the next sweep is a minute later
ANSWERS_KEPT = timedelta(hours=24)
REPORTS_KEPT = timedelta(days=30)
INVITATIONS_KEPT = timedelta(days=90)  # after they were accepted, withdrawn or expired
NOTIFICATIONS_KEPT = timedelta(days=100)
UPLOADS_GIVEN_UP = timedelta(hours=1)


def sweep() -> int:
    """Delete all expired rows. Returns their number."""
    return (
        sweep_kept_answers()
        + sweep_sessions()
        + sweep_invitations()
        + sweep_imports()
        + sweep_notifications()
        + sweep_audit()
    )


def sweep_kept_answers() -> int:
    """Delete responses to requests with an Idempotency-Key after a day."""
    return _delete(KeptAnswer.objects.filter(created_at__lt=timezone.now() - ANSWERS_KEPT))


def sweep_sessions() -> int:
    """Delete expired sessions."""
    return _delete(Session.objects.filter(expire_date__lt=timezone.now()))


def sweep_invitations() -> int:
    """Delete invitations that ended long ago. The audit log still mentions them."""
    then = timezone.now() - INVITATIONS_KEPT
    over = Q(accepted_at__lt=then) | Q(withdrawn_at__lt=then) | Q(expires_at__lt=then, accepted_at=None)
    return _delete(Invitation.objects.filter(over))


def sweep_imports() -> int:
    """Delete old reports and uploads that were never completed; first their lines, which can be a million."""
    now = timezone.now()
    over = ImportJob.objects.filter(
        Q(state=ImportJob.State.DONE, finished_at__lt=now - REPORTS_KEPT)
        | Q(state=ImportJob.State.RECEIVING, created_at__lt=now - UPLOADS_GIVEN_UP)
    )
    count = _delete(ImportLine.objects.filter(job__in=over))
    return count + _delete(over.filter(rows=None))


def sweep_notifications() -> int:
    """Delete notifications of occasions that cannot come back; that a key is unused is told once as long as it is."""
    then = timezone.now() - NOTIFICATIONS_KEPT
    return _delete(Notification.objects.filter(created_at__lt=then).exclude(kind=Notification.Kind.UNUSED))


def sweep_audit() -> int:
    """Delete rows of the audit log, and of the admin's own log, that are older than AUTHSVC_AUDIT_KEEP."""
    if not settings.AUDIT_KEEP_DAYS:
        return 0
    then = timezone.now() - timedelta(days=settings.AUDIT_KEEP_DAYS)
    events = models_base(AuditEvent)  # bypasses the guard; for everybody else the log is append-only
    return _delete(events.filter(at__lt=then)) + _delete(LogEntry.objects.filter(action_time__lt=then))


def _delete(rows: Any) -> int:
    """Delete the rows in batches, each in its own transaction. Returns their number."""
    count = 0
    for _ in range(MOST_BATCHES):
        ids = list(rows.order_by().values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        models_base(rows.model).filter(pk__in=ids).delete()
        count += len(ids)
    return count
