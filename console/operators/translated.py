"""The words of tables and their fields, translated for the admin.

Models describe themselves in plain English, which is what migrations keep. Here those words become messages, and `make
messages` collects them, so no field can be forgotten.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

_OURS = ("accounts", "quotas")  # Django and allauth translate theirs
_WITHIN = ("accounts.AccountOverride", "accounts.KeyLimit", "quotas.PlanLimit")  # on pages of other tables
WORDS: list[str] = []  # all that became messages, in English


def translate_tables(site: AdminSite) -> None:
    """Make every word about what the site shows a message. To be called once, when all models are known."""
    for model in _shown_by(site):
        options: Any = model._meta
        if not isinstance(options.verbose_name, Promise):
            several = str(options.verbose_name_plural)  # Django makes it of the singular, lazily
            options.verbose_name, options.verbose_name_plural = _message(options.verbose_name), _message(several)
        for field in _fields(model):
            field.verbose_name, field.help_text = _message(field.verbose_name), _message(field.help_text)
            if field.choices:
                field.choices = [(value, _message(label)) for value, label in field.choices]


def _shown_by(site: AdminSite) -> list[type[models.Model]]:
    """Our models with pages of their own, and those within such pages."""
    shown = [model for model in site._registry if model._meta.app_label in _OURS]
    return sorted({*shown, *map(apps.get_model, _WITHIN)}, key=lambda model: model._meta.label)


def _fields(model: type[models.Model]) -> list[Any]:
    return [*model._meta.fields, *model._meta.many_to_many]


def _message(words: Any) -> Any:
    if isinstance(words, Promise) or not words:
        return words
    WORDS.append(words)
    return gettext_lazy(words)
