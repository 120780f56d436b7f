"""The form of a key: what a person may choose when making or changing one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from accounts.caps import MOST_NETWORKS
from accounts.models import ApiKey
from accounts.models.keys import MOST_METADATA_BYTES
from accounts.services.keys import METHODS
from quotas import rules
from quotas.limits import EVERY_MODEL, UNITS, Limit
from quotas.models import ServedModel

ALL, SOME = "all", "some"
NEVER, ON_A_DATE, KEEP = "never", "date", "keep"
PRESETS = {
    "7": gettext_lazy("7 days"),
    "30": gettext_lazy("30 days"),
    "90": gettext_lazy("90 days"),
    "365": gettext_lazy("A year"),
}
UNIT_TITLES = {"requests": gettext_lazy("calls"), "units": gettext_lazy("units")}
WINDOW_TITLES = {
    "second": gettext_lazy("second"),
    "minute": gettext_lazy("minute"),
    "hour": gettext_lazy("hour"),
    "day": gettext_lazy("day"),
    "month": gettext_lazy("month"),
}
LIMIT_ROWS = 3
MOST_AMOUNT = 10**12


class KeyForm(forms.Form):
    """Fields are named as the service's arguments, so that its refusals find their places."""

    name = forms.CharField(max_length=200)
    which = forms.ChoiceField(
        choices=[(ALL, gettext_lazy("All models of the plan")), (SOME, gettext_lazy("Only some models"))], initial=ALL
    )
    models = forms.MultipleChoiceField(required=False)
    expiry = forms.ChoiceField(initial=NEVER)
    expires_on = forms.DateField(required=False)
    networks = forms.CharField(required=False, max_length=MOST_NETWORKS * 50)
    methods = forms.MultipleChoiceField(choices=[(one, one) for one in METHODS], required=False)
    metadata = forms.CharField(required=False, max_length=MOST_METADATA_BYTES * 2)

    def __init__(self, *args: Any, models: Iterable[ServedModel], key: ApiKey | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key = key
        self.offered = list(models)
        known = [model.slug for model in self.offered]
        # A model that has left the plan may stay with a key that has it already.
        self.beyond = [slug for slug in (key.narrowed_to or () if key else ()) if slug not in known]
        self._choices("models", [(slug, slug) for slug in (*known, *self.beyond)])
        keep = [(KEEP, gettext("Unchanged"))] if key else []
        self._choices("expiry", [*keep, (NEVER, gettext("Never")), *PRESETS.items(), (ON_A_DATE, gettext("On a date"))])
        for row in range(LIMIT_ROWS):
            self.fields[f"amount_{row}"] = forms.IntegerField(required=False, min_value=1, max_value=MOST_AMOUNT)
            self.fields[f"unit_{row}"] = forms.ChoiceField(choices=list(UNIT_TITLES.items()), required=False)
            self.fields[f"window_{row}"] = forms.ChoiceField(choices=list(WINDOW_TITLES.items()), required=False)

    def _choices(self, name: str, choices: Sequence[tuple[str, str | Promise]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean_networks(self) -> list[str]:
        return str(self.cleaned_data["networks"]).replace(",", " ").split()

    def clean_metadata(self) -> dict[str, Any]:
        return read_metadata(str(self.cleaned_data["metadata"]))

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if cleaned.get("which") == SOME and not cleaned.get("models") and "models" not in self.errors:
            self.add_error("models", gettext("Choose at least one model."))
        if cleaned.get("expiry") == ON_A_DATE and not self.errors.get("expires_on"):
            self._check_date(cleaned.get("expires_on"))
        for row in range(LIMIT_ROWS):
            if limit := self._limit(row):
                for _, text in rules.out_of_range(limit):
                    self.add_error(f"amount_{row}", text)
        windows = [(limit.window, limit.unit) for limit in self._limits()]
        if len(set(windows)) < len(windows):
            twice = gettext("Two of the limits count the same thing over the same time. Keep the lower one.")
            self.add_error(None, twice)
        return cleaned

    def _check_date(self, day: Any) -> None:
        if day is None:
            self.add_error("expires_on", gettext("Choose the last day on which the key works."))
        elif _end_of(day) <= timezone.now():
            self.add_error("expires_on", gettext("This day is in the past."))

    def _limits(self) -> list[Limit]:
        return [limit for row in range(LIMIT_ROWS) if (limit := self._limit(row))]

    def _limit(self, row: int) -> Limit | None:
        amount = self.cleaned_data.get(f"amount_{row}")
        if not amount:
            return None
        unit, window = self.cleaned_data.get(f"unit_{row}") or UNITS[0], self.cleaned_data.get(f"window_{row}")
        return Limit(
            name=_name_of_limit(unit, window or "minute"),
            scope="key",
            amount=amount,
            window=window or "minute",
            unit=unit,
        )

    def expires_at(self) -> datetime | None:
        chosen = self.cleaned_data["expiry"]
        if chosen == KEEP:
            return self.key.expires_at if self.key else None
        if chosen == NEVER:
            return None
        if chosen == ON_A_DATE:
            return _end_of(self.cleaned_data["expires_on"])
        return (timezone.now() + timedelta(days=int(chosen))).replace(second=0, microsecond=0)

    def wanted(self) -> dict[str, Any]:
        """The arguments for the service."""
        cleaned = self.cleaned_data
        return {
            "name": cleaned["name"],
            "models": None if cleaned["which"] == ALL else cleaned["models"],
            "expires_at": self.expires_at(),
            "networks": cleaned["networks"],
            "methods": cleaned["methods"],
            "metadata": cleaned["metadata"],
            "limits": [*self._limits(), *(self.unseen_limits() if self.key else ())],
        }

    def unseen_limits(self) -> list[Limit]:
        """Limits that this form has no fields for stay with the key."""
        return [row for row in own_limits(self.key) if not _is_simple(row)][:10] if self.key else []

    def take_refusal(self, error: ValidationError) -> None:
        """Show what a service refused beside the field it is about."""
        fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for field, texts in fields.items():
            for text in texts:
                self.add_error(field if field in self.fields else None, text)


def own_limits(key: ApiKey) -> list[Limit]:
    return [row.as_limit("key") for row in key.limits.select_related("model")]


def initial_of(key: ApiKey) -> dict[str, Any]:
    """A key as the form shows it."""
    values: dict[str, Any] = {
        "name": key.name,
        "which": ALL if key.narrowed_to is None else SOME,
        "models": key.narrowed_to or [],
        "expiry": KEEP,
        "networks": "\n".join(key.networks),
        "methods": key.methods,
        "metadata": write_metadata(key.metadata),
    }
    for row, limit in enumerate([one for one in own_limits(key) if _is_simple(one)][:LIMIT_ROWS]):
        values |= {f"amount_{row}": limit.amount, f"unit_{row}": limit.unit, f"window_{row}": limit.window}
    return values


def read_metadata(text: str) -> dict[str, Any]:
    """`team: nlp`, a line each, or a JSON object."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValidationError(gettext("This is not a JSON object.")) from error
        return dict(found)
    values = {}
    for line in filter(str.strip, text.splitlines()):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            words = gettext("Write “name: value” on each line. This one is “%(line)s”.")
            raise ValidationError(words % {"line": line.strip()[:60]})
        values[name.strip()] = value.strip()
    return values


def write_metadata(metadata: dict[str, Any]) -> str:
    plain = all(isinstance(value, str) and "\n" not in value and value == value.strip() for value in metadata.values())
    named = all(name == name.strip() and ":" not in name and not name.startswith("{") for name in metadata)
    if plain and named:
        return "\n".join(f"{name}: {value}" for name, value in metadata.items())
    return json.dumps(metadata, ensure_ascii=False, indent=2)


def _is_simple(limit: Limit) -> bool:
    simple = limit.model == EVERY_MODEL and limit.burst is None
    return simple and limit.name == _name_of_limit(limit.unit, limit.window)


def _name_of_limit(unit: str, window: str) -> str:
    return f"own-{window}" if unit == UNITS[0] else f"own-{unit}-{window}"


def _end_of(day: Any) -> datetime:
    """The end of a day in UTC: the key works all through it."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1)
