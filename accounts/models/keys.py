"""API keys, their secrets and their own limits."""

from __future__ import annotations

import json
from typing import Any, Literal, NoReturn, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext

from accounts.models.accounts import Account, made_with
from accounts.models.active import ExpiringQuerySet, is_living
from accounts.models.people import User
from quotas.guarded import BulkChangeRefused, GuardedManager, GuardedQuerySet
from quotas.models import AmountPerWindow, amount_constraints
from runtime.labels import one_line

MOST_METADATA_BYTES = 8192


DEEPEST_METADATA = 20

StateOfKey = Literal["active", "paused", "expired", "revoked"]


def small_object(value: Any) -> None:
    """Validate metadata: a JSON object of at most 8 KB that every supported database can store."""
    if not isinstance(value, dict):
        raise ValidationError(gettext("Metadata must be a JSON object."))
    if not _can_be_kept(value):
        words = gettext("Metadata contains a null character or more than %(most)d levels of nesting.")
        raise ValidationError(words % {"most": DEEPEST_METADATA})
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise ValidationError(gettext("Metadata contains a value that JSON can't represent.")) from error
    if len(text) > MOST_METADATA_BYTES:
        raise ValidationError(gettext("Metadata is longer than 8 KB."))


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return depth <= DEEPEST_METADATA and all(_can_be_kept(one, depth + 1) for one in inner)


class KeyQuerySet(ExpiringQuerySet["ApiKey"], GuardedQuerySet["ApiKey"]):  # type: ignore[override]  # the stubs' as_manager
    """Keys are read by their state, and written by services alone. Each is revoked, expired, paused or active."""

    def living(self) -> Self:
        """Those neither revoked nor expired. A paused key is one of them: it can be resumed at any time."""
        return self.filter(is_living())

    def ended(self) -> Self:
        return self.exclude(is_living())

    def active(self) -> Self:
        return self.living().filter(paused_at=None)

    def inactive(self) -> Self:
        return self.exclude(is_living(), paused_at=None)

    def paused(self) -> Self:
        return self.living().filter(paused_at__isnull=False)

    def in_state(self, state: StateOfKey) -> Self:
        match state:
            case "active":
                return self.active()
            case "paused":
                return self.paused()
            case "expired":
                return self.expired()
            case "revoked":
                return self.revoked()


class ApiKey(models.Model):
    """An API key. Keys are revoked, never deleted, and never move to a different account."""

    public_id = models.CharField(max_length=16, unique=True, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="keys", editable=False)
    name = models.CharField(max_length=200, validators=[one_line])
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    made_with = made_with()
    narrowed_to = models.JSONField(
        null=True,
        blank=True,
        help_text="The slugs of the only models it may use; null: every model of the account's plan.",
    )
    networks = models.JSONField(default=list, blank=True, help_text="Client networks in CIDR notation; empty: any.")
    methods = models.JSONField(default=list, blank=True, help_text="HTTP methods; empty: any.")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    metadata = models.JSONField(default=dict, blank=True, validators=[small_object])
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveBigIntegerField(default=1, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    objects = models.Manager.from_queryset(KeyQuerySet)()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at", "-id"]
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="key_has_a_name")]
        indexes = [
            models.Index(
                fields=["expires_at"],
                name="keys_by_expiry",
                condition=Q(revoked_at__isnull=True, expires_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("Keys can't be deleted: revoke it instead.")

    @property
    def state(self) -> StateOfKey:
        """What cannot be undone comes first: resuming a key that is over would not make it work."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return "expired"
        return "active" if self.paused_at is None else "paused"

    @property
    def is_living(self) -> bool:
        """Whether it works, or would if it were resumed. Such keys count towards the most that an account may have."""
        return self.state in ("active", "paused")


class KeySecret(models.Model):
    """A key's secret. During the grace period of a rotation a key has two that work."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="secrets")
    digest = models.CharField(max_length=64, unique=True)
    pepper = models.CharField(max_length=8, help_text="The id of the pepper used for the digest.")
    minted_pepper = models.CharField(max_length=8, help_text="The id of the pepper used for the check inside the key.")
    is_imported = models.BooleanField(default=False, help_text="Whether the key comes from another system.")
    start = models.CharField(
        max_length=24, validators=[one_line], help_text="The first characters, to recognize it by."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When the grace period of a rotation ends.")
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.GenericIPAddressField(
        null=True, blank=True, help_text="The client's address at the last use."
    )

    objects = GuardedManager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["pepper"], name="secrets_by_pepper")]

    def __str__(self) -> str:
        return f"{self.start}…"


class KeyLimit(AmountPerWindow):
    """A limit of one key, in addition to its plan's."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="limits")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["key", "name"], name="key_limit_name_once"),
            models.UniqueConstraint("key", Coalesce("model", 0), "unit", "window", name="key_limit_counter_once"),
            *amount_constraints("key_limit"),
        ]

    def __str__(self) -> str:
        return self.name
