"""Changes that are not in Redis yet, and the identity of the Redis that was filled last."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class SeenStore(models.Model):
    """The single row with the identity of the Redis that the worker last used; it outlives the worker's process."""

    identity = models.TextField(help_text="The run_id of each master.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="seen_store_is_one_row")]

    def __str__(self) -> str:
        return self.identity


class OutboxRow(models.Model):
    """A change that is committed and not yet published to the gate."""

    class Part(models.TextChoices):
        KEY = "key"
        ACCOUNT = "account"
        CATALOGUE = "catalogue"

    part = models.CharField(max_length=9, choices=Part.choices)
    subject = models.CharField(max_length=16, blank=True, help_text="The key's or account's public id.")
    version = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "outbox"
        indexes = [models.Index(fields=["part", "subject"], name="outbox_by_part")]

    def __str__(self) -> str:
        return f"{self.get_part_display()} {self.subject} v{self.version}"
