"""Limits as rows of a form, validated as a whole before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from quotas import rules
from quotas.limits import EVERY_MODEL, Limit

if TYPE_CHECKING:  # generic only in the stubs (docs/decisions/0027)
    RowForm = forms.ModelForm[Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, forms.ModelForm[Any]]
else:
    RowForm = forms.ModelForm
    InlineFormSet = forms.BaseInlineFormSet


class LimitForm(RowForm):
    """One limit, within the ranges in which the script's arithmetic is exact."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and cleaned.get("window"):
            for field, text in rules.out_of_range(limit_of(cleaned, scope="key")):
                self.add_error(field, text)
        return cleaned


class LimitFormSet(InlineFormSet):
    """All limits of a plan or key. `costs` maps the slug of each model that can be called to its cost."""

    scope = "key"  # of limits whose form has no scope

    def __init__(self, *args: Any, costs: Mapping[str, int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._costs = costs or {}

    def values(self) -> list[Limit]:
        """The posted limits, without deleted and empty rows."""
        kept = [form for form in self.forms if form not in self.deleted_forms]
        return [limit_of(form.cleaned_data, scope=self.scope) for form in kept if form.cleaned_data.get("name")]

    def clean(self) -> None:
        # Instead of Django's checks: rows may swap names, because limits are matched by their counters.
        if any(self.errors):
            return
        found = self.values()
        faults = [text for _, text in rules.doubles(found)]
        faults += [text for _, text in rules.costs_that_never_fit(found, self._costs)]
        if faults:
            raise ValidationError(faults)


def limit_of(cleaned: Mapping[str, Any], *, scope: str) -> Limit:
    model = cleaned.get("model")
    return Limit(
        name=cleaned["name"],
        scope=cleaned.get("scope") or scope,
        amount=cleaned["amount"],
        window=cleaned["window"],
        unit=cleaned.get("unit") or "requests",
        model=model.slug if model else EVERY_MODEL,
        burst=cleaned.get("burst"),
        shadow=bool(cleaned.get("shadow")),
    )


class TextLines(forms.CharField):
    """A list of texts, one a line."""

    widget = forms.Textarea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = value if isinstance(value, list) else str(value or "").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))
