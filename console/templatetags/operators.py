"""How the admin names its tables and writes its shares."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.text import capfirst
from django.utils.translation import gettext

from console.operators.places import Words, name_of
from runtime.figures import number

register = template.Library()


@register.filter
def table_name(opts: Any) -> Words:
    """What operators call the table of a model: users are People."""
    return name_of(opts.label_lower) or capfirst(str(opts.verbose_name_plural))


@register.filter
def percent(share: float) -> str:
    """0.876 → 88%; in French 88 %"""
    return gettext("%(number)s%%") % {"number": number(round(share * 100))}
