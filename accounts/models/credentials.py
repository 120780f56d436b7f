"""Credentials that programs use to manage accounts, and invitations for people."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy

from accounts.models.accounts import Account, Membership, made_with
from accounts.models.active import ExpiringQuerySet
from accounts.models.people import User
from runtime.labels import one_line


class Credential(models.Model):
    """A program's credential for the REST API, not for models. Looked up by public id, verified by digest."""

    public_id = models.CharField(max_length=16, unique=True, editable=False)
    name = models.CharField(max_length=200, validators=[one_line])
    scopes = models.JSONField(default=list)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    pepper = models.CharField(max_length=8, editable=False, help_text="The id of the pepper used for its digest.")
    start = models.CharField(max_length=48, editable=False, help_text="The first characters, to recognize it by.")
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    made_with = made_with()
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="Accurate to a minute.")

    objects = models.Manager.from_queryset(ExpiringQuerySet)()

    class Meta:
        abstract = True
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def is_in_force(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ManagementKey(Credential):
    """A credential of a customer's program, for one account."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="management_keys", editable=False)


class OperatorToken(Credential):
    """A credential of the operator's own systems, for all accounts."""


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def in_state(self, state: str, now: datetime) -> InvitationQuerySet:
        """Those with this `state`."""
        taken_back = Q(withdrawn_at__lt=F("expires_at")) | Q(withdrawn_at__isnull=False, expires_at__gt=now)
        match state:
            case Invitation.State.ACCEPTED:
                return self.exclude(accepted_at=None)
            case Invitation.State.WITHDRAWN:
                return self.filter(taken_back, accepted_at=None)
            case Invitation.State.EXPIRED:
                return self.filter(
                    Q(withdrawn_at=None) | Q(withdrawn_at__gte=F("expires_at")), accepted_at=None, expires_at__lte=now
                )
        return self.filter(accepted_at=None, withdrawn_at=None, expires_at__gt=now)


class Invitation(models.Model):
    """An invitation to join an account, sent by mail. The link in the latest mail works once, for anyone who has it."""

    class State(models.TextChoices):
        PENDING = "pending", pgettext_lazy("of an invitation", "Invited")
        ACCEPTED = "accepted", pgettext_lazy("of an invitation", "Joined")
        WITHDRAWN = "withdrawn", pgettext_lazy("of an invitation", "Withdrawn")
        EXPIRED = "expired", pgettext_lazy("of an invitation", "Expired")

    public_id = models.CharField(max_length=16, unique=True, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254, validators=[one_line])
    role = models.CharField(max_length=6, choices=Membership.Role.choices, default=Membership.Role.MEMBER)
    invited_by = models.CharField(max_length=200)
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    made_with = made_with()
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(
        null=True, blank=True, help_text="When the latest mail was sent; empty if it could not be sent."
    )
    sendings = models.PositiveIntegerField(
        default=1, help_text="How many mails were sent. Only the link in the latest one is valid."
    )
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = models.Manager.from_queryset(InvitationQuerySet)()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                "account", Lower("email"), condition=Q(accepted_at=None, withdrawn_at=None), name="invited_once"
            ),
            models.CheckConstraint(
                condition=Q(role__in=("owner", "admin", "member", "viewer")), name="invited_role_known"
            ),
        ]

    def __str__(self) -> str:
        return gettext("%(email)s to %(account)s") % {"email": self.email, "account": self.account}

    def is_open(self, now: datetime) -> bool:
        return self.state(now) == self.State.PENDING

    @property
    def current_state(self) -> State:
        return self.state(timezone.now())

    def state(self, now: datetime) -> State:
        """What became of it. One that was replaced after it had expired has expired, and was not withdrawn."""
        if self.accepted_at:
            return self.State.ACCEPTED
        if self.withdrawn_at and (self.withdrawn_at < self.expires_at or now < self.expires_at):
            return self.State.WITHDRAWN
        return self.State.PENDING if now < self.expires_at else self.State.EXPIRED
