"""What changed, in words: the audit log keeps names of fields and values as the services write them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from console.templatetags.console import when
from runtime.figures import number

FIELDS = {
    "name": gettext_lazy("Name"),
    "models": gettext_lazy("Models"),
    "networks": gettext_lazy("Networks"),
    "methods": gettext_lazy("Methods"),
    "limits": gettext_lazy("Limits"),
    "metadata": gettext_lazy("Metadata"),
    "expires_at": gettext_lazy("Expires"),
    "revoked_at": gettext_lazy("Revoked"),
    "old_until": gettext_lazy("The old secret works until"),
    "external_id": gettext_lazy("External ID"),
    "plan": gettext_lazy("Plan"),
    "state": gettext_lazy("State"),
    "overrides": gettext_lazy("Amounts of its own"),
    "max_keys": gettext_lazy("Most keys"),
    "user": gettext_lazy("Person"),
    "role": gettext_lazy("Role"),
    "email": gettext_lazy("Email address"),
    "scopes": gettext_lazy("Scopes"),
}
# What an empty value means, where it is not simply nothing.
_EMPTY = {
    "models": gettext_lazy("all models of the plan"),
    "networks": gettext_lazy("any network"),
    "methods": gettext_lazy("all methods"),
    "expires_at": gettext_lazy("never"),
    "limits": gettext_lazy("no limits of its own"),
    "max_keys": gettext_lazy("as many as the plan allows"),
    "role": gettext_lazy("no member"),
}
_VALUES = {
    "active": gettext_lazy("active"),
    "suspended": gettext_lazy("suspended"),
    "closed": gettext_lazy("closed"),
    "changed": gettext_lazy("changed"),
    "owner": gettext_lazy("owner"),
    "admin": gettext_lazy("admin"),
    "member": gettext_lazy("member"),
    "viewer": gettext_lazy("viewer"),
}
_NOTHING: tuple[object, ...] = (None, [], {}, "")


def changes_of(before: Any, after: Any) -> list[dict[str, Any]]:
    """Each field that has a value before or after; what was empty on both sides says nothing."""
    before, after = (one if isinstance(one, dict) else {} for one in (before, after))
    names = [
        name for name in {**before, **after} if before.get(name) not in _NOTHING or after.get(name) not in _NOTHING
    ]
    return [
        {
            "name": FIELDS.get(name) or name.replace("_", " ").capitalize(),
            "before": value_in_words(name, before[name]) if _says_something(name, before) else None,
            "after": value_in_words(name, after[name]) if name in after else None,
        }
        for name in names
    ]


def _says_something(name: str, before: dict[str, Any]) -> bool:
    """A field that was simply empty needs no crossed-out “none” before its first value."""
    return name in before and (before[name] not in _NOTHING or name in _EMPTY)


def value_in_words(name: str, value: Any) -> str:
    if value in _NOTHING:
        return str(_EMPTY.get(name) or gettext("none"))
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, int):
        return number(value)
    if isinstance(value, list):
        return ", ".join(value_in_words("", one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{one}: {value_in_words('', inner)}" for one, inner in value.items() if inner is not None)
    if name in ("state", "role", "metadata") and value in _VALUES:
        return str(_VALUES[value])
    return _moment(value) if name.endswith(("_at", "_until")) else str(value)


def _moment(text: str) -> str:
    try:
        return when(datetime.fromisoformat(text))
    except ValueError:
        return text
