"""Who may call what: accounts and their members, keys and their secrets, the audit log, the outbox."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar, NoReturn, Self
from unicodedata import normalize

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Lower
from django.utils import timezone

from accounts import keys
from quotas.guarded import BulkChangeRefused, GuardedManager
from quotas.labels import one_line
from quotas.models import MOST_MAX_KEYS, AmountPerWindow, Plan, amount_constraints

EXTERNAL_ID = r"^[A-Za-z0-9._~:@|+-]{1,200}\Z"
EXTERNAL_ID_WORDS = "Use 1 to 200 of A-Z a-z 0-9 . _ ~ : @ | + -."
MOST_METADATA_BYTES = 8192
DEEPEST_METADATA = 20


NAME_IS_TAKEN = "A user with that username already exists."
is_external_id = RegexValidator(EXTERNAL_ID, EXTERNAL_ID_WORDS)


def new_member_id() -> str:
    return keys.new_key_id(keys.new_account_id())


def erased_name(public_id: str) -> str:
    return f"closed {public_id}"


def caseless(username: str) -> str:
    """What two user names have in common that people take for one."""
    return normalize("NFKC", normalize("NFKC", username).casefold())


class People(UserManager["User"]):
    """Users, found by their names whatever the case that they are typed in."""

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> User:
        """The user of this name; raises DoesNotExist. Where two of old differ in case alone, each by its own."""
        folded = caseless(username or "")
        rows = self.filter(Q(username=username) | Q(folded_username=folded)).order_by("pk")
        found = {row.username: row for row in rows if caseless(row.username) == folded}
        row = found.get(username or "") or next(iter(found.values()), None)
        if row is None:
            raise self.model.DoesNotExist
        return row


def made_with() -> models.CharField[str | None, str | None]:
    """The credential that something was made with. By its id, since it may be of either kind; empty: by a person who
    was signed in, or by a command."""
    return models.CharField(
        max_length=16, null=True, blank=True, editable=False,
        help_text="The id of the management key or operator token it was made with.",
    )  # fmt: skip


class User(AbstractUser):
    """A person who signs in."""

    username = models.CharField(
        max_length=150, unique=True, validators=[UnicodeUsernameValidator(), one_line],
        help_text="Up to 150 letters, digits and @ . + - _; upper and lower case are the same.",
        error_messages={"unique": NAME_IS_TAKEN},
    )  # fmt: skip
    folded_username = models.CharField(  # noqa: DJ001  null: made by the version before, or taken by another one then
        max_length=600, unique=True, null=True, editable=False
    )

    first_name = models.CharField("first name", max_length=150, blank=True, validators=[one_line])
    last_name = models.CharField("last name", max_length=150, blank=True, validators=[one_line])
    email = models.EmailField("email address", blank=True, validators=[one_line])

    objects: ClassVar[People] = People()

    _username_before: str | None = None

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        row = super().from_db(*args, **kwargs)
        row._username_before = row.__dict__.get("username")
        return row

    def clean(self) -> None:
        super().clean()
        if self._is_renamed() and self._others().exists():
            raise ValidationError({"username": NAME_IS_TAKEN})

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._is_renamed():
            one_line(self.username)  # createsuperuser has no form
            self.folded_username = caseless(self.username)
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "folded_username"}
        super().save(*args, **kwargs)
        self._username_before = self.username

    def _is_renamed(self) -> bool:
        return "username" in self.__dict__ and self.username != self._username_before

    def _others(self) -> models.QuerySet[User]:
        return User.objects.filter(folded_username=caseless(self.username)).exclude(pk=self.pk)


class Account(models.Model):
    """The tenant: owns keys, has a plan, is active, suspended or closed. Never deleted, only closed."""

    public_id = models.CharField(max_length=8, unique=True, editable=False)
    external_id = models.CharField(
        max_length=200, unique=True, null=True, blank=True, validators=[is_external_id],
        help_text="What the operator's own system calls it: commands and the API find it by this, too.",
    )  # fmt: skip
    former_external_id = models.CharField(  # noqa: DJ001  the version before inserts accounts without it
        max_length=200, null=True, blank=True, db_index=True, editable=False,
        help_text="What it had until it was erased: invoices are still written under it.",
    )  # fmt: skip
    name = models.CharField(max_length=200, db_index=True, validators=[one_line])
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="accounts")
    plan_since = models.DateTimeField(editable=False, help_text="When it came to this plan.")
    max_keys = models.PositiveIntegerField(
        "most keys", null=True, blank=True, validators=[MaxValueValidator(MOST_MAX_KEYS)],
        help_text="How many keys it may have that are neither revoked nor expired. Empty: as many as its plan says.",
    )  # fmt: skip
    suspended_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its names were forgotten; it cannot be reopened."
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
        """Names are labels that several accounts may share: the id says which it is."""
        return f"{self.name} ({self.public_id})"

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("An account is never deleted: close it.")

    @property
    def state(self) -> str:
        """active, suspended or closed."""
        return "closed" if self.closed_at else "suspended" if self.suspended_at else "active"

    @property
    def is_erased(self) -> bool:
        """Closed, and its names forgotten. The version before marks it by its name alone."""
        return self.closed_at is not None and (self.erased_at is not None or self.name == erased_name(self.public_id))


class Membership(models.Model):
    """A person's role in an account. The gate knows nothing of people."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"
        VIEWER = "viewer"

    # Null only for one that the version before has made meanwhile.
    public_id = models.CharField(  # noqa: DJ001
        max_length=16, unique=True, null=True, editable=False, default=new_member_id
    )
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="member_once"),
            models.CheckConstraint(condition=Q(role__in=("owner", "admin", "member", "viewer")), name="role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.account}"


class AccountOverride(models.Model):
    """Another amount for one of the limits that the account's plan names."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="overrides")
    limit_name = models.CharField(max_length=63)
    amount = models.PositiveBigIntegerField(validators=[MinValueValidator(1)])
    burst = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: as the plan says.")

    objects = GuardedManager()

    class Meta:
        ordering = ["limit_name"]
        constraints = [
            models.UniqueConstraint(fields=["account", "limit_name"], name="override_once"),
            models.CheckConstraint(condition=Q(amount__gte=1), name="override_amount_in_range"),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.limit_name}={self.amount}"


def small_object(value: Any) -> None:
    """Free metadata is a JSON object of at most 8 KB that every database can keep."""
    if not isinstance(value, dict):
        raise ValidationError("Metadata is a JSON object.")
    if not _can_be_kept(value):
        raise ValidationError(f"Metadata holds a null character, or more than {DEEPEST_METADATA} levels.")
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise ValidationError("Metadata holds a number or a character that JSON has not.") from error
    if len(text) > MOST_METADATA_BYTES:
        raise ValidationError("Metadata is longer than 8 KB.")


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return depth <= DEEPEST_METADATA and all(_can_be_kept(one, depth + 1) for one in inner)


class ApiKey(models.Model):
    """A key: never deleted, only revoked; it cannot change account."""

    public_id = models.CharField(max_length=16, unique=True, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="keys", editable=False)
    name = models.CharField(max_length=200, validators=[one_line])
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    made_with = made_with()
    narrowed_to = models.JSONField(
        null=True, blank=True, help_text="Slugs it is narrowed to; null: every model of the account's plan."
    )
    networks = models.JSONField(default=list, blank=True, help_text="Client networks in CIDR; empty: any.")
    methods = models.JSONField(default=list, blank=True, help_text="HTTP methods; empty: any.")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True, validators=[small_object])
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveBigIntegerField(default=1, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    objects = GuardedManager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at", "-id"]
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="key_has_a_name")]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkChangeRefused("A key is never deleted: revoke it.")


class KeySecret(models.Model):
    """One secret of a key: during a rotation's grace there are two."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="secrets")
    digest = models.CharField(max_length=64, unique=True)
    pepper = models.CharField(max_length=8, help_text="The id of the pepper that its digest was made with.")
    minted_pepper = models.CharField(
        max_length=8, help_text="The id of the pepper that the check in the string was made with."
    )
    is_imported = models.BooleanField(default=False, help_text="A string of another system.")
    start = models.CharField(
        max_length=24, validators=[one_line], help_text="The first characters, for people to recognise it by."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="The end of a rotation's grace.")
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = GuardedManager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["pepper"], name="secrets_by_pepper")]

    def __str__(self) -> str:
        return f"{self.start}…"


class KeyLimit(AmountPerWindow):
    """A limit that narrows one key further than its plan does."""

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


class Credential(models.Model):
    """What a program asks the API with; no key for models. Found by its public id, compared by its digest."""

    public_id = models.CharField(max_length=16, unique=True, editable=False)
    name = models.CharField(max_length=200, validators=[one_line])
    scopes = models.JSONField(default=list)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    pepper = models.CharField(max_length=8, editable=False, help_text="The pepper that its digest was made with.")
    start = models.CharField(max_length=48, editable=False, help_text="Its first characters, to recognise it by.")
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    made_with = made_with()
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")

    class Meta:
        abstract = True
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def is_in_force(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ManagementKey(Credential):
    """A customer's program asks the API with it, for one account."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="management_keys", editable=False)


class OperatorToken(Credential):
    """The operator's own systems ask the API with it, for every account."""


class Invitation(models.Model):
    """Somebody is asked by mail to join an account; whoever has the link of the last mail may, once."""

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
        null=True, blank=True, help_text="When the last mail went out; empty: it could not be sent."
    )
    sendings = models.PositiveIntegerField(default=1, help_text="Which mail's link is good: the last one's.")
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

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
        return f"{self.email} to {self.account}"

    def is_open(self, now: datetime) -> bool:
        return self.accepted_at is None and self.withdrawn_at is None and now < self.expires_at


class KeptAnswer(models.Model):
    """The answer to a request with an Idempotency-Key, without the secret that was in it (docs/decisions/0012)."""

    caller = models.CharField(max_length=48)
    key = models.CharField(max_length=64, help_text="HMAC of the Idempotency-Key.")
    fingerprint = models.CharField(max_length=64, help_text="HMAC of method, path and body.")
    account = models.CharField(max_length=8, blank=True)
    subject = models.CharField(max_length=16, blank=True, help_text="The key that was made or rotated.")
    pepper = models.CharField(max_length=8, help_text="The pepper that the digests here were made with.")
    nonce = models.CharField(max_length=32, help_text="What the secret was derived with.")
    digest = models.CharField(max_length=64, blank=True, help_text="Of the text that was shown.")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="answered_once")]

    def __str__(self) -> str:
        return f"{self.caller}: {self.status}"


class AppendOnlyQuerySet(models.QuerySet["AuditEvent"]):
    """What was written stays as it was written."""

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
    """Who did what, to what, when, from where. Names as text: the log outlives the people in it."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=200, help_text="A user's name, or the command that was run.")
    address = models.CharField(max_length=45, blank=True, help_text="Where the person's request came from.")
    act = models.CharField(max_length=40, validators=[RegexValidator(r"^[a-z]+(\.[a-z_]+)+\Z")])
    account = models.CharField(max_length=8, blank=True, db_index=True)
    subject = models.CharField(max_length=200, help_text="What was acted upon: a public id or a slug.")
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


class ImportJob(models.Model):
    """An upload of keys of another system: first its lines are received, then the worker goes through them."""

    class State(models.TextChoices):
        RECEIVING = "receiving"
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"

    public_id = models.CharField(max_length=16, unique=True)
    account = models.ForeignKey(
        Account, null=True, on_delete=models.CASCADE, related_name="+",
        help_text="Of all lines; null: each line says its own.",
    )  # fmt: skip
    actor = models.CharField(max_length=200)
    address = models.CharField(max_length=45, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    made_with = made_with()
    is_dry_run = models.BooleanField()
    by_operator = models.BooleanField(default=False, db_default=False)
    foreign = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Lines that were refused because another account has the key."
    )
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
    """A line of an upload: digests, never a key. What it says is forgotten when it was gone through."""

    class Outcome(models.TextChoices):
        WAITING = "waiting"
        IMPORTED = "imported"
        ALREADY_THERE = "already_there"
        REFUSED = "refused"

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField(help_text="Of the line in the file; the header is line 1.")
    says = models.JSONField(null=True)
    outcome = models.CharField(max_length=13, choices=Outcome.choices, default=Outcome.WAITING)
    key = models.CharField(max_length=16, blank=True, help_text="The key that it is now.")
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


class SeenStore(models.Model):
    """The one row that remembers which Redis the worker spoke to, beyond the worker's own life."""

    identity = models.TextField(help_text="run_id of each master.")

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
        return f"{self.part} {self.subject} v{self.version}"
