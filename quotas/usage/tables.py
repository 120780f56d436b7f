"""The tables of counted usage: by hour as it is copied, and the sums of hours and days.

Public ids and slugs instead of foreign keys: usage outlives keys.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.lookups import Exact


def beyond(*counts: str) -> Q:
    """The condition for days that differ from what was summed of them.

    As a CASE, because PostgreSQL expects few rows where something unknown equals a value. Of `NOT (a = b)` it expects
    nearly all, and would read the table instead of the index, which is small.
    """
    is_beyond = Case(When(~Q(**{count: F(f"summed_{count}") for count in counts}), then=1), default=0)
    return Q(Exact(is_beyond, 1))


class UsageHour(models.Model):
    """A key's usage of a model in an hour.

    Redis counts, and the worker copies: of the stored and the copied value, the greater one wins for each birth of the
    Redis hash. Readers sum over births, because each birth is a counter that started at zero.
    """

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    hour = models.DateTimeField()
    birth = models.BigIntegerField(help_text="The microsecond at which the counter in Redis started.")
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
    """The sum of a key's usage of a model on a UTC day; see quotas/usage/days.py.

    `summed_…` is how much of each count is contained in `UsageMonth` and `AccountDay`; see quotas/usage/sums.py.
    """

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    day = models.DateTimeField(help_text="The midnight UTC at which it begins.")
    allowed = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    shadow_refused = models.PositiveBigIntegerField(default=0)
    units = models.PositiveBigIntegerField(default=0)
    summed_allowed = models.PositiveBigIntegerField(db_default=0)
    summed_refused = models.PositiveBigIntegerField(db_default=0)
    summed_shadow_refused = models.PositiveBigIntegerField(db_default=0)
    summed_units = models.PositiveBigIntegerField(db_default=0)

    class Meta:
        ordering = ["-day", "key", "model"]
        constraints = [models.UniqueConstraint(fields=["key", "model", "day"], name="usage_once_a_day")]
        indexes = [
            models.Index(fields=["account", "day"], name="usage_days_of_an_account"),
            models.Index(fields=["day"], name="usage_by_day"),
            models.Index(
                fields=["day"],
                name="usage_days_to_sum",
                condition=beyond("allowed", "refused", "shadow_refused", "units"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.day:%Y-%m-%d}"


class UsageMonth(models.Model):
    """What was summed of a key's usage of a model in a UTC month; see quotas/usage/sums.py."""

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    month = models.DateTimeField(help_text="The midnight UTC at which it begins.")
    allowed = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    shadow_refused = models.BigIntegerField(default=0)
    units = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-month", "key", "model"]
        constraints = [models.UniqueConstraint(fields=["key", "model", "month"], name="usage_once_a_month")]
        indexes = [
            models.Index(fields=["account", "month"], name="usage_months_of_an_account"),
            models.Index(fields=["month"], name="usage_by_month"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.month:%Y-%m}"


class AccountDay(models.Model):
    """What was summed of the usage of a model by all keys of an account on a UTC day; see quotas/usage/sums.py."""

    account = models.CharField(max_length=8)
    model = models.CharField(max_length=63)
    day = models.DateTimeField(help_text="The midnight UTC at which it begins.")
    allowed = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    shadow_refused = models.BigIntegerField(default=0)
    units = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "account", "model"]
        constraints = [models.UniqueConstraint(fields=["account", "day", "model"], name="account_usage_once_a_day")]
        indexes = [models.Index(fields=["day"], name="account_usage_by_day")]

    def __str__(self) -> str:
        return f"{self.account} {self.model} {self.day:%Y-%m-%d}"


class RefusalHour(models.Model):
    """How many calls of a key to a model were refused in an hour for one reason. Kept as UsageHour is: the greater of
    stored and copied wins for each birth, and readers sum over births.
    """

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    hour = models.DateTimeField()
    birth = models.BigIntegerField(help_text="The microsecond at which the counter in Redis started.")
    reason = models.CharField(
        max_length=32, help_text="The verdict's word; shadow_refused: a limit in shadow would have refused the call."
    )
    by_limit = models.CharField(
        max_length=100,
        blank=True,
        help_text="The scope, model, unit and window of the limit that refused; empty: it was not a limit.",
    )
    calls = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["-hour", "key", "model"]
        constraints = [
            models.UniqueConstraint(
                fields=["key", "model", "hour", "birth", "reason", "by_limit"], name="refusals_once_per_birth"
            )
        ]
        indexes = [
            models.Index(fields=["account", "hour"], name="refusals_of_an_account"),
            models.Index(fields=["hour"], name="refusals_by_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.hour:%Y-%m-%dT%H} {self.reason}"


class RefusalDay(models.Model):
    """The sum of a key's refusals for one reason on a UTC day; see quotas/usage/days.py.

    `summed_calls` of them are contained in `RefusalMonth`.
    """

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    day = models.DateTimeField(help_text="The midnight UTC at which it begins.")
    reason = models.CharField(max_length=32)
    by_limit = models.CharField(max_length=100, blank=True)
    calls = models.PositiveBigIntegerField()
    summed_calls = models.PositiveBigIntegerField(db_default=0)

    class Meta:
        ordering = ["-day", "key", "model"]
        constraints = [
            models.UniqueConstraint(fields=["key", "model", "day", "reason", "by_limit"], name="refusals_once_a_day")
        ]
        indexes = [
            models.Index(fields=["account", "day"], name="refusal_days_of_an_account"),
            models.Index(fields=["day"], name="refusals_by_day"),
            models.Index(fields=["day"], name="refusal_days_to_sum", condition=beyond("calls")),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.day:%Y-%m-%d} {self.reason}"


class RefusalMonth(models.Model):
    """What was summed of a key's refusals for one reason in a UTC month; see quotas/usage/sums.py."""

    account = models.CharField(max_length=8)
    key = models.CharField(max_length=16)
    model = models.CharField(max_length=63)
    month = models.DateTimeField(help_text="The midnight UTC at which it begins.")
    reason = models.CharField(max_length=32)
    by_limit = models.CharField(max_length=100, blank=True)
    calls = models.BigIntegerField()

    class Meta:
        ordering = ["-month", "key", "model"]
        constraints = [
            models.UniqueConstraint(
                fields=["key", "model", "month", "reason", "by_limit"], name="refusals_once_a_month"
            )
        ]
        indexes = [
            models.Index(fields=["account", "month"], name="refusal_months_of_an_account"),
            models.Index(fields=["month"], name="refusals_by_month"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.model} {self.month:%Y-%m} {self.reason}"


class DaysKept(models.Model):
    """The single row with the day from which `UsageDay` is complete. Writers of usage take turns by locking it."""

    since = models.DateTimeField()

    class Meta:
        verbose_name_plural = "days kept"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="days_kept_is_one_row")]

    def __str__(self) -> str:
        return f"since {self.since:%Y-%m-%d}"
