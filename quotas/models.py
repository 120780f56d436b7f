"""How much: the served models, plans with their limits, and counted usage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from quotas import limits
from quotas.examples import ModelExample, check_example
from quotas.guarded import GuardedManager
from quotas.usage.tables import (
    AccountDay,
    DaysKept,
    RefusalDay,
    RefusalHour,
    RefusalMonth,
    UsageDay,
    UsageHour,
    UsageMonth,
)
from runtime.labels import one_line

__all__ = [
    "MAX_KEYS",
    "MOST_MAX_KEYS",
    "NEW",
    "SEGMENT",
    "SLUG",
    "AccountDay",
    "AmountPerWindow",
    "Catalogue",
    "DaysKept",
    "Deployment",
    "Plan",
    "PlanLimit",
    "RefusalDay",
    "RefusalHour",
    "RefusalMonth",
    "ServedModel",
    "UsageDay",
    "UsageHour",
    "UsageMonth",
    "amount_constraints",
    "included_in",
]
MAX_KEYS = 100  # per account, unless its plan says otherwise
MOST_MAX_KEYS = 1_000_000
SLUG = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
SEGMENT = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}"
_is_slug = RegexValidator(
    rf"^{SLUG}\Z",
    gettext_lazy("Use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit: it is used in headers."),
)
_is_path = RegexValidator(
    rf"^(/{SEGMENT}){{1,8}}\Z", gettext_lazy("Use a path of plain segments, such as /en_core_web_sm or /v1/chat.")
)


def _one_of(values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


class Catalogue(models.Model):
    """The single row that represents all models, plans and limits: they share its version."""

    version = models.PositiveBigIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)
    default_plan = models.ForeignKey("Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    objects = GuardedManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="catalogue_is_one_row")]

    def __str__(self) -> str:
        return gettext("catalogue, version %(version)d") % {"version": self.version}


class Deployment(models.Model):
    """The single row with this deployment's identity. A copy of the database counts as the same deployment."""

    identity = models.CharField(max_length=32)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="deployment_is_one_row")]

    def __str__(self) -> str:
        return self.identity


class ServedModel(models.Model):
    """A model behind the gate."""

    slug = models.CharField(
        max_length=63, unique=True, validators=[_is_slug], help_text="The name of the model in keys, plans and headers."
    )
    path = models.CharField(
        max_length=255,
        unique=True,
        validators=[_is_path],
        help_text="The path prefix that Traefik routes to it, such as /en_core_web_sm. Paths must not overlap.",
    )
    title = models.CharField(max_length=200, blank=True, validators=[one_line])
    cost = models.PositiveIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(limits.MOST_COST)],
        help_text="How many units one call uses.",
    )
    enabled = models.BooleanField(
        default=True, help_text="Calls to a disabled model are refused like calls to an unknown one."
    )
    auto_include = models.BooleanField(
        default=True,
        help_text='Whether plans with every model ("*") include it. If not, they include it once a plan names it.',
    )
    speaks = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        choices=[("openai", "OpenAI’s API")],
        help_text="The protocol of its clients: the console then shows calls with the openai package too.",
    )
    example = models.JSONField(
        null=True,
        blank=True,
        validators=[check_example],
        help_text='A call that works, for the console: {"method": "POST", "path": "/ner", "body": …, "answer": …}. '
        "The path continues the model’s.",
    )
    discovered_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When discover_models found it in Traefik, if it was not in the catalogue before.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GuardedManager()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(cost__gte=1) & Q(cost__lte=limits.MOST_COST), name="model_cost_in_range"
            ),
            models.CheckConstraint(condition=Q(path__startswith="/"), name="model_path_begins_with_slash"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def as_example(self) -> ModelExample | None:
        return ModelExample.read(self.example)

    @property
    def is_new(self) -> bool:
        """Whether it was found in Traefik and nobody has decided yet which plans get it."""
        return self.discovered_at is not None and not self.auto_include and not self.plans.all()


NEW = Q(discovered_at__isnull=False, auto_include=False, plans__isnull=True)  # is_new, as a filter


class Plan(models.Model):
    """A named set of models and limits."""

    name = models.CharField(max_length=63, unique=True, validators=[_is_slug])
    title = models.CharField(max_length=200, blank=True, validators=[one_line])
    all_models = models.BooleanField(default=False, help_text='Every enabled model, including future ones ("*").')
    auto_include = models.BooleanField(
        default=False,
        help_text="For a plan with every model: include models found in Traefik that no plan names yet.",
    )
    served_models = models.ManyToManyField(ServedModel, blank=True, related_name="plans")
    max_keys = models.PositiveIntegerField(
        "most keys",
        default=MAX_KEYS,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_MAX_KEYS)],
        help_text="How many keys an account may have that are neither revoked nor expired.",
    )
    offered = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Whether customers on other plans see it in the comparison on their account's page.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GuardedManager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def included(self) -> models.QuerySet[ServedModel]:
        """The plan's models: those it names, or every model except new ones (docs/decisions/0010)."""
        return ServedModel.objects.filter(included_in([self])).distinct()


def included_in(plans: Iterable[Plan]) -> Q:
    """The condition for models that at least one of these plans includes."""
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
        ServedModel, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty: calls to all models together."
    )
    amount = models.PositiveBigIntegerField(validators=[MinValueValidator(1)])
    window = models.CharField(max_length=6, choices=_one_of(limits.WINDOWS))
    unit = models.CharField(max_length=8, choices=_one_of(limits.UNITS), default="requests")
    burst = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="For limits per second, minute and hour: how much can be used at once. Empty: the amount.",
    )
    counted_since = models.DateTimeField(
        help_text="When its counter took effect. If its day or month had already begun, earlier usage is counted too."
    )

    objects = GuardedManager()

    class Meta:
        abstract = True

    def as_limit(self, scope: str) -> limits.Limit:
        return limits.Limit(
            name=self.name,
            scope=scope,
            amount=self.amount,
            window=self.window,
            unit=self.unit,
            model=self.model.slug if self.model else limits.EVERY_MODEL,
            burst=self.burst,
            since=int(self.counted_since.timestamp() * limits.SECOND),
        )


def amount_constraints(prefix: str) -> list[models.CheckConstraint]:
    """Ranges in which the script's arithmetic is exact."""
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
    """A plan's limit."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="limits")
    scope = models.CharField(
        max_length=7,
        choices=_one_of(limits.SCOPES),
        help_text="Whether an account's keys share the limit or each has its own.",
    )
    shadow = models.BooleanField(default=False, help_text="Counts what it would refuse, but refuses nothing.")

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
