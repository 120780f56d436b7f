"""Records of requests: the audit log, and responses kept for retries (Idempotency-Key)."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.validators import RegexValidator
from django.db import models

from quotas.guarded import BulkChangeRefused


class KeptAnswer(models.Model):
    """The response to a request with an Idempotency-Key, without the secret it contained (docs/decisions/0012)."""

    caller = models.CharField(max_length=48)
    key = models.CharField(max_length=64, help_text="HMAC of the Idempotency-Key.")
    fingerprint = models.CharField(max_length=64, help_text="HMAC of method, path and body.")
    account = models.CharField(max_length=8, blank=True)
    subject = models.CharField(max_length=16, blank=True, help_text="The key that was issued or rotated.")
    pepper = models.CharField(max_length=8, help_text="The pepper used for the digests in this row.")
    nonce = models.CharField(max_length=32, help_text="The nonce from which the secret was derived.")
    digest = models.CharField(max_length=64, blank=True, help_text="The digest of the key that was shown.")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="answered_once")]

    def __str__(self) -> str:
        return f"{self.caller}: {self.status}"


class AppendOnlyQuerySet(models.QuerySet["AuditEvent"]):
    """Refuses every change of existing rows."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("The audit log is append-only.")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("The audit log is append-only.")

    def bulk_create(self, *args: Any, update_conflicts: bool = False, **kwargs: Any) -> list[AuditEvent]:
        if update_conflicts:
            raise BulkChangeRefused("The audit log is append-only.")
        return super().bulk_create(*args, **kwargs)

    def delete(self) -> NoReturn:
        raise BulkChangeRefused("The audit log is append-only.")


class AuditEvent(models.Model):
    """Who did what, to what, when and from where. Names are stored as text, because the log outlives the people."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=200, help_text="The user name, credential or command.")
    address = models.CharField(max_length=45, blank=True, help_text="The IP address of the request.")
    act = models.CharField(max_length=40, validators=[RegexValidator(r"^[a-z]+(\.[a-z_]+)+\Z")])
    account = models.CharField(max_length=8, blank=True, db_index=True)
    subject = models.CharField(max_length=200, help_text="The object of the act: a public id, slug or name.")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["account", "-id"], name="audit_of_an_account")]

    def __str__(self) -> str:
        return f"{self.actor} {self.act} {self.subject}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise BulkChangeRefused("The audit log is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("The audit log is append-only.")
