"""How much: the models that are served, plans with their limits, and the usage that was counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from quotas import limits
from quotas.guarded import GuardedManager
from runtime.labels import one_line

MAX_KEYS = 100  # of an account, where its plan does not say
MOST_MAX_KEYS = 1_000_000
SLUG = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
SEGMENT = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}"
_is_slug = RegexValidator(
    rf"^{SLUG}\Z", "Use up to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit: it goes into headers."
)
_is_path = RegexValidator(
    rf"^(/{SEGMENT}){{1,8}}\Z", "Write a path of clean segments, such as /en_core_web_sm or /v1/chat."
)


def _one_of(values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


class Catalogue(models.Model):
    """The one row that stands for all models, plans and limits: its version covers them."""

    version = models.PositiveBigIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)
    default_plan = models.ForeignKey("Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    objects = GuardedManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="catalogue_is_one_row")]

    def __str__(self) -> str:
        return f"catalogue, version {self.version}"


class Deployment(models.Model):
    """The one row that says which deployment this database is of. A copy of the database is the same deployment."""

    identity = models.CharField(max_length=32)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="deployment_is_one_row")]

    def __str__(self) -> str:
        return self.identity


class ServedModel(models.Model):
    """A model behind the gate."""

    slug = models.CharField(
        max_length=63, unique=True, validators=[_is_slug], help_text="Its name in keys, plans and headers."
    )
    path = models.CharField(
        max_length=255, unique=True, validators=[_is_path],
        help_text="The path prefix that Traefik routes to it, such as /en_core_web_sm. No prefix may begin another.",
    )  # fmt: skip
    title = models.CharField(max_length=200, blank=True, validators=[one_line])
    cost = models.PositiveIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)],
        help_text="Units that one call takes.",
    )
    enabled = models.BooleanField(default=True, help_text="A disabled model is refused like an unknown one.")
    auto_include = models.BooleanField(
        default=True,
        help_text='Whether plans of every model ("*") include it. Without it they do so once a plan names it.',
    )  # fmt: skip
    discovered_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When discover_models found it in Traefik, if that was first."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GuardedManager()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(cost__gte=1) & Q(cost__lte=1_000_000), name="model_cost_in_range"),
            models.CheckConstraint(condition=Q(path__startswith="/"), name="model_path_begins_with_slash"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def is_new(self) -> bool:
        """Found in Traefik, and nobody has said yet what is to become of it."""
        return self.discovered_at is not None and not self.auto_include and not self.plans.all()


NEW = Q(discovered_at__isnull=False, auto_include=False, plans__isnull=True)  # is_new, as a filter


class Plan(models.Model):
    """A named set of limits and models."""

    name = models.CharField(max_length=63, unique=True, validators=[_is_slug])
    title = models.CharField(max_length=200, blank=True, validators=[one_line])
    all_models = models.BooleanField(default=False, help_text='Every enabled model, also one that comes later ("*").')
    auto_include = models.BooleanField(
        default=False,
        help_text="Of a plan of every model: also new ones that were found in Traefik and are named nowhere yet.",
    )  # fmt: skip
    served_models = models.ManyToManyField(ServedModel, blank=True, related_name="plans")
    max_keys = models.PositiveIntegerField(
        "most keys", default=MAX_KEYS,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_MAX_KEYS)],
        help_text="How many keys an account may have that are neither revoked nor expired.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GuardedManager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def included(self) -> models.QuerySet[ServedModel]:
        """The models of the plan: those that it names, or every model but new ones (docs/decisions/0010)."""
        return ServedModel.objects.filter(included_in([self])).distinct()


def included_in(plans: Iterable[Plan]) -> Q:
    """The condition on models that at least one of these plans includes."""
    plans = list(plans)
    if any(plan.all_models and plan.auto_include for plan in plans):
        return Q()
    named = Q(plans__in=plans)
    if any(plan.all_models for plan in plans):
        return named | Q(auto_include=True) | Q(plans__isnull=False)
    return named


class AmountPerWindow(models.Model):
    """The fields that a plan's limit and a key's own limit share."""

    name = models.CharField(max_length=63, validators=[_is_slug], help_text="The policy name in RateLimit headers.")
    model = models.ForeignKey(
        ServedModel, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty: calls to every model together."
    )
    amount = models.PositiveBigIntegerField(validators=[MinValueValidator(1)])
    window = models.CharField(max_length=6, choices=_one_of(limits.WINDOWS))
    unit = models.CharField(max_length=8, choices=_one_of(limits.UNITS), default="requests")
    burst = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of second, minute and hour limits: how much at once. Empty: the amount."
    )
    counted_since = models.DateTimeField(
        help_text="When its counter came into force; a day or month that was already running is read from usage."
    )

    objects = GuardedManager()

    class Meta:
        abstract = True

    def as_limit(self, scope: str) -> limits.Limit:
        return limits.Limit(
            name=self.name, scope=scope, amount=self.amount, window=self.window, unit=self.unit,
            model=self.model.slug if self.model else limits.EVERY_MODEL, burst=self.burst,
            since=int(self.counted_since.timestamp() * limits.SECOND),
        )  # fmt: skip


def amount_constraints(prefix: str) -> list[models.CheckConstraint]:
    """Ranges within which the script's arithmetic is exact."""
    smoothed = Q(window__in=tuple(limits.SMOOTHED))
    return [
        models.CheckConstraint(
            condition=Q(amount__gte=1)
            & (Q(amount__lte=limits.MOST_SMOOTHED) | ~smoothed)
            & Q(amount__lte=limits.MOST_CALENDAR),
            name=f"{prefix}_amount_in_range",
        ),
        models.CheckConstraint(
            condition=Q(burst__isnull=True) | (smoothed & Q(burst__gte=1) & Q(burst__lte=limits.MOST_BURST)),
            name=f"{prefix}_burst_in_range",
        ),
        models.CheckConstraint(condition=Q(window__in=limits.WINDOWS), name=f"{prefix}_window_known"),
        models.CheckConstraint(condition=Q(unit__in=limits.UNITS), name=f"{prefix}_unit_known"),
    ]


class PlanLimit(AmountPerWindow):
    """One limit of a plan."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="limits")
    scope = models.CharField(
        max_length=7, choices=_one_of(limits.SCOPES), help_text="Whether an account's keys share it or have one each."
    )
    shadow = models.BooleanField(default=False, help_text="Counts what it would have refused, and refuses nothing.")

    class Meta:
        ordering = ["plan", "name"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "name"], name="limit_name_once_in_a_plan"),
            models.UniqueConstraint(
                "plan", "scope", Coalesce("model", 0), "unit", "window", name="limit_counter_once_in_a_plan"
            ),
            models.CheckConstraint(condition=Q(scope__in=limits.SCOPES), name="limit_scope_known"),
            *amount_constraints("limit"),
        ]

    def __str__(self) -> str:
        return f"{self.plan.name}: {self.name}"

    def value(self) -> limits.Limit:
        return replace(self.as_limit(self.scope), shadow=self.shadow)


class UsageHour(models.Model):
    """What a key did with a model in an hour. Public ids and slugs, no foreign keys: usage outlives keys.

    Redis counts, the worker copies: the greater of stored and copied, per birth of the Redis hash.
    Readers sum over births, because each birth is a counter that began at zero.
    """

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    hour = models.DateTimeField()
    birth = models.BigIntegerField(help_text="Microsecond at which the counter in Redis began.")
    allowed = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    shadow_refused = models.PositiveBigIntegerField(default=0)
    units = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-hour", "key", "model"]
        constraints = [
            models.UniqueConstraint(fields=["key", "model", "hour", "birth"], name="usage_once_per_birth"),
            models.CheckConstraint(condition=Q(units__gte=F("allowed")), name="usage_units_cover_calls"),
        ]
        indexes = [
            models.Index(fields=["account", "hour"], name="usage_of_an_account"),
            models.Index(fields=["hour"], name="usage_by_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.hour:%Y-%m-%dT%H}"


class UsageDay(models.Model):
    """The sum of a key's and model's hours of a UTC day; see quotas/usage/days.py."""

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    day = models.DateTimeField(help_text="Midnight UTC at which it began.")
    allowed = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    shadow_refused = models.PositiveBigIntegerField(default=0)
    units = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "key", "model"]
        constraints = [models.UniqueConstraint(fields=["key", "model", "day"], name="usage_once_a_day")]
        indexes = [
            models.Index(fields=["account", "day"], name="usage_days_of_an_account"),
            models.Index(fields=["day"], name="usage_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.day:%Y-%m-%d}"


class DaysKept(models.Model):
    """The one row that says since which day `UsageDay` is complete; its lock puts those who write usage in order."""

    since = models.DateTimeField()

    class Meta:
        verbose_name_plural = "days kept"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="days_kept_is_one_row")]

    def __str__(self) -> str:
        return f"since {self.since:%Y-%m-%d}"
