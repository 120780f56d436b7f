"""Mails about the life of keys and accounts: which are waiting, which were sent, and who wants none of a topic."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from accounts.models.people import User


class Topic(models.TextChoices):
    """What people switch on and off."""

    EXPIRY = "expiry", gettext_lazy("A key is about to expire")
    UNUSED = "unused", gettext_lazy("A key has not been used for 90 days")
    QUOTA = "quota", gettext_lazy("A quota is nearly or completely used up")
    MANAGEMENT_KEY = "management_key", gettext_lazy("Somebody created a management key")
    SIGN_IN = "sign_in", gettext_lazy("You signed in from a new place")


class Notification(models.Model):
    """One thing to tell one person by mail, once: the constraint holds even if two workers find it at the same time.

    `due_at` is when it may be sent next, and empty once it has ended. The first to send it moves `due_at` ahead.
    """

    class Kind(models.TextChoices):
        EXPIRES_IN_A_WEEK = "expires_in_a_week"
        EXPIRES_TOMORROW = "expires_tomorrow"
        UNUSED = "unused"
        QUOTA_NEARLY_USED = "quota_nearly_used"
        QUOTA_USED_UP = "quota_used_up"
        MANAGEMENT_KEY = "management_key"
        NEW_PLACE = "new_place"

    class Outcome(models.TextChoices):
        SENT = "sent"
        OUTDATED = "outdated"  # no longer true, or no longer wanted, when its turn came
        FAILED = "failed"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    account = models.CharField(max_length=8, blank=True, db_index=True, help_text="Public id; empty: the person alone.")
    subject = models.CharField(max_length=120, help_text="What it is about: the id of a key, or a quota.")
    moment = models.DateTimeField(help_text="With the subject, what makes it a different occasion.")
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(null=True, default=timezone.now)
    tries = models.PositiveSmallIntegerField(default=0)
    outcome = models.CharField(max_length=8, blank=True, choices=Outcome.choices)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["user", "kind", "subject", "moment"], name="notification_once")]
        indexes = [
            models.Index(fields=["kind", "subject", "moment"], name="notifications_by_occasion"),
            models.Index(fields=["due_at"], name="notifications_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.subject}"


class SwitchedOffTopic(models.Model):
    """A person wants no mails about this topic."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="switched_off_topics")
    topic = models.CharField(max_length=16, choices=Topic.choices)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["user", "topic"], name="topic_switched_off_once")]

    def __str__(self) -> str:
        return self.topic


class SignInPlace(models.Model):
    """Where somebody signed in from: a network and a family of browsers."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    network = models.CharField(max_length=45)
    browser = models.CharField(max_length=16)
    last_seen_at = models.DateTimeField()

    class Meta:
        ordering = ["-last_seen_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["user", "network", "browser"], name="sign_in_place_once")]

    def __str__(self) -> str:
        return f"{self.browser} at {self.network}"
