"""The sidebar of the admin: what operators look for, under the words they think in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Words = str | Promise


class Table(NamedTuple):
    """A table of the admin, by its label, with the name that operators know it by."""

    label: str
    name: Words
    icon: str = "list"


class Tool(NamedTuple):
    """A page of ours in the sidebar, with the permissions that it needs."""

    page: str
    name: Words
    icon: str
    needs: tuple[str, ...]


class Group(NamedTuple):
    """A heading of the sidebar."""

    key: str
    name: Words
    entries: tuple[Table | Tool, ...]


class Entry(NamedTuple):
    """A link of the sidebar, as the template writes it."""

    name: Words
    icon: str
    address: str
    is_here: bool


GROUPS = (
    Group(
        "customers",
        _("Customers"),
        (
            Table("accounts.account", _("Accounts"), "building"),
            Table("accounts.apikey", _("Keys"), "key"),
            Table("accounts.user", _("People"), "people"),
        ),
    ),
    Group(
        "catalogue",
        _("Catalogue"),
        (
            Table("quotas.servedmodel", _("Models"), "cube"),
            Table("quotas.plan", _("Plans"), "gauge"),
        ),
    ),
    Group(
        "operations",
        _("Operations"),
        (
            Tool("usage", _("Usage"), "chart", ("quotas.view_usagehour",)),
            Tool("refused", _("Refused calls"), "warn", ("quotas.view_usagehour",)),
            Table("accounts.auditevent", _("Audit log"), "list"),
            Table("accounts.outboxrow", _("Outbox"), "clock"),
        ),
    ),
    Group(
        "tools",
        _("Tools"),
        (
            Tool("which_key", _("Which key is this?"), "search", ("accounts.view_apikey",)),
            Tool("explain", _("Explain a decision"), "help", ("accounts.view_apikey", "quotas.view_usagehour")),
        ),
    ),
)

# Everything else: still there for who looks for it, one click further away.
MORE = Group(
    "more",
    _("More tables"),
    (
        Table("accounts.invitation", _("Invitations")),
        Table("accounts.membership", _("Members")),
        Table("accounts.managementkey", _("Management keys")),
        Table("accounts.operatortoken", _("Operator tokens")),
        Table("auth.group", _("Staff groups")),
        Table("quotas.catalogue", _("Default plan")),
        Table("quotas.usagehour", _("Usage by the hour")),
        Table("accounts.keysecret", _("Secrets by pepper")),
        Table("accounts.keptanswer", _("Kept answers")),
        Table("accounts.seenstore", _("The Redis last seen")),
    ),
)


def name_of(label: str) -> Words | None:
    """What operators call a table; None for one that nobody has named."""
    named = (one for group in (*GROUPS, MORE) for one in group.entries if isinstance(one, Table))
    return next((one.name for one in named if one.label == label), None)


def sidebar(site: AdminSite, request: HttpRequest) -> list[tuple[Words, list[Entry]]]:
    """The groups with the links that this person may follow."""
    groups = [(group.name, list(_entries(site, request, group))) for group in GROUPS]
    return [(name, entries) for name, entries in groups if entries]


def tables(site: AdminSite, request: HttpRequest, app_list: list[Any]) -> list[Any]:
    """Django's list of tables, grouped as in the sidebar. A table that no group names comes last."""
    found = {_label(model): model for app in app_list for model in app["models"]}
    listed = []
    for group in (*GROUPS, MORE):
        labels = [one.label for one in group.entries if isinstance(one, Table)]
        models = [{**found.pop(label), "name": name_of(label)} for label in labels if label in found]
        if group is MORE:
            models += found.values()
        if models:
            address = reverse(f"{site.name}:tables")
            listed.append({"name": group.name, "app_label": group.key, "app_url": address, "models": models})
    return listed


def _label(model: dict[str, Any]) -> str:
    return str(model["model"]._meta.label_lower)


def _entries(site: AdminSite, request: HttpRequest, group: Group) -> Iterator[Entry]:
    for one in group.entries:
        if isinstance(one, Tool):
            if may(request, *one.needs):
                yield _entry(request, one, reverse(f"{site.name}:{one.page}"))
            continue
        app, model = one.label.split(".")
        page = next(page for table, page in site._registry.items() if table._meta.label_lower == one.label)
        if page.has_view_permission(request):
            yield _entry(request, one, reverse(f"{site.name}:{app}_{model}_changelist"))


def _entry(request: HttpRequest, one: Table | Tool, address: str) -> Entry:
    return Entry(one.name, one.icon, address, request.path.startswith(address))


def may(request: HttpRequest, *permissions: str) -> bool:
    user = request.user
    return bool(user.is_active and user.is_authenticated and user.has_perms(permissions))
