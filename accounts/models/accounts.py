"""Customers: accounts, their members, and the limits in which they differ from their plan."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from accounts import keys
from accounts.models.people import User
from quotas.guarded import BulkChangeRefused, GuardedManager
from quotas.models import MOST_MAX_KEYS, Plan
from runtime.labels import one_line

EXTERNAL_ID = r"^[A-Za-z0-9._~:@|+-]{1,200}\Z"


EXTERNAL_ID_WORDS = gettext_lazy("Use 1 to 200 of A-Z a-z 0-9 . _ ~ : @ | + -.")


is_external_id = RegexValidator(EXTERNAL_ID, EXTERNAL_ID_WORDS)


def new_member_id() -> str:
    return keys.new_key_id(keys.new_account_id())


def erased_name(public_id: str) -> str:
    return f"closed {public_id}"


def made_with() -> models.CharField[str | None, str | None]:
    """A field for the credential that created a row: by id, because it can be a management key or an operator token.

    Null for a row that was created by a signed-in person or a command.
    """
    return models.CharField(
        max_length=16,
        null=True,
        blank=True,
        editable=False,
        help_text="The id of the management key or operator token that created it.",
    )


class Account(models.Model):
    """A tenant, with keys and a plan; active, suspended or closed. Accounts are closed, never deleted."""

    public_id = models.CharField(max_length=8, unique=True, editable=False)
    external_id = models.CharField(
        max_length=200,
        unique=True,
        null=True,
        blank=True,
        validators=[is_external_id],
        help_text="The account's id in the operator's own system. Commands and the API accept it too.",
    )
    former_external_id = models.CharField(
        max_length=200,
        blank=True,
        db_index=True,
        editable=False,
        help_text="The external id that the account had until it was erased; it still appears on invoices.",
    )
    name = models.CharField(max_length=200, db_index=True, validators=[one_line])
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="accounts")
    plan_since = models.DateTimeField(editable=False, help_text="When the account was put on this plan.")
    max_keys = models.PositiveIntegerField(
        "most keys",
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST_MAX_KEYS)],
        help_text="How many keys it may have that are neither revoked nor expired. Empty: as many as its plan allows.",
    )
    suspended_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When its names were erased. An erased account cannot be reopened.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveBigIntegerField(default=1, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)
    users: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        User, through="Membership", related_name="accounts"
    )

    objects = GuardedManager()

    class Meta:
        ordering = ["name", "pk"]
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="account_has_a_name")]

    def __str__(self) -> str:
        """Several accounts can have the same name; the id tells them apart."""
        return f"{self.name} ({self.public_id})"

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("Accounts can't be deleted: close it instead.")

    @property
    def state(self) -> str:
        """`active`, `suspended` or `closed`."""
        return "closed" if self.closed_at else "suspended" if self.suspended_at else "active"

    @property
    def is_erased(self) -> bool:
        """Whether the account was closed and its names were forgotten."""
        return self.erased_at is not None


class Membership(models.Model):
    """A person's role in an account. The gate doesn't know people."""

    class Role(models.TextChoices):
        OWNER = "owner", gettext_lazy("Owner")
        ADMIN = "admin", gettext_lazy("Admin")
        MEMBER = "member", gettext_lazy("Member")
        VIEWER = "viewer", gettext_lazy("Viewer")

    public_id = models.CharField(max_length=16, unique=True, editable=False, default=new_member_id)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="member_once"),
            models.CheckConstraint(condition=Q(role__in=("owner", "admin", "member", "viewer")), name="role_known"),
        ]

    def __str__(self) -> str:
        words = gettext("%(user)s is %(role)s of %(account)s")
        return words % {"user": self.user, "role": str(self.get_role_display()).lower(), "account": self.account}


class AccountOverride(models.Model):
    """An amount that replaces that of one of the plan's limits for this account."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="overrides")
    limit_name = models.CharField(max_length=63)
    amount = models.PositiveBigIntegerField(validators=[MinValueValidator(1)])
    burst = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the plan's.")

    objects = GuardedManager()

    class Meta:
        ordering = ["limit_name"]
        constraints = [
            models.UniqueConstraint(fields=["account", "limit_name"], name="override_once"),
            models.CheckConstraint(condition=Q(amount__gte=1), name="override_amount_in_range"),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.limit_name}={self.amount}"
