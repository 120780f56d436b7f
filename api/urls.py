"""The addresses below /api/v1/, collected from the views of the modules that are named here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.urls import path, re_path

from api import (
    accounts,
    audit,
    catalogue,
    closing,
    explain,
    export,
    imports,
    invitations,
    keys,
    limits,
    management_keys,
    me,
    members,
    refusals,
    usage,
)
from api.base.operations import VERBS, Operation, operation_of, route_of, routed_views
from api.base.resource import UnknownAddress
from api.docs import docs, schema

RESOURCES = (
    me,
    accounts,
    export,
    closing,
    members,
    invitations,
    keys,
    management_keys,
    catalogue,
    imports,
    usage,
    refusals,
    limits,
    explain,
    audit,
)

VIEWS = [(route, view) for module in RESOURCES for view in routed_views(module) if (route := route_of(view))]

OPERATIONS: Mapping[Callable[..., Any], Operation] = {
    getattr(view, verb): operation for _, view in VIEWS for verb in VERBS if (operation := operation_of(view, verb))
}

urlpatterns = [
    *(path(route.path, view.as_view(), name=route.name) for route, view in VIEWS),
    path("schema/", schema, name="schema"),
    path("docs/", docs, name="docs"),
    re_path(r"", UnknownAddress.as_view()),
]
