"""Imports of keys from another system, with the outcome of each line."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models.accounts import Account, made_with
from accounts.models.people import User


class ImportJob(models.Model):
    """An upload of keys from another system: its lines are stored first, then the worker imports them."""

    class State(models.TextChoices):
        RECEIVING = "receiving"
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"

    public_id = models.CharField(max_length=16, unique=True)
    account = models.ForeignKey(
        Account,
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="The account for all lines; null if each line names its own.",
    )
    actor = models.CharField(max_length=200)
    address = models.CharField(max_length=45, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    made_with = made_with()
    is_dry_run = models.BooleanField()
    by_operator = models.BooleanField(default=False)
    foreign = models.PositiveIntegerField(default=0, help_text="Lines refused because a different account has the key.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.RECEIVING)
    lines = models.PositiveIntegerField(default=0)
    imported = models.PositiveIntegerField(default=0)
    already_there = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=("receiving", "waiting", "running", "done")), name="import_state_known"
            )
        ]

    def __str__(self) -> str:
        return f"import {self.public_id}"


class ImportLine(models.Model):
    """A line of an upload, with digests instead of the key. Its content is deleted once it has been processed."""

    class Outcome(models.TextChoices):
        WAITING = "waiting"
        IMPORTED = "imported"
        ALREADY_THERE = "already_there"
        REFUSED = "refused"

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField(help_text="Line number in the file; the header is line 1.")
    says = models.JSONField(null=True)
    outcome = models.CharField(max_length=13, choices=Outcome.choices, default=Outcome.WAITING)
    key = models.CharField(max_length=16, blank=True, help_text="The id of the imported key.")
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["job", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="import_line_once"),
            models.CheckConstraint(
                condition=Q(outcome__in=("waiting", "imported", "already_there", "refused")),
                name="import_outcome_known",
            ),
        ]
        indexes = [models.Index(fields=["job", "outcome", "number"], name="import_lines_by_outcome")]

    def __str__(self) -> str:
        return f"line {self.number}: {self.outcome}"
