"""How the admin names its tables."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.text import capfirst

from console.operators.places import Words, name_of

register = template.Library()


@register.filter
def table_name(opts: Any) -> Words:
    """What operators call the table of a model: users are People."""
    return name_of(opts.label_lower) or capfirst(str(opts.verbose_name_plural))
