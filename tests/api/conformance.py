"""Compares every answer of a view with the schema: no undeclared status, form, field or action."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from api.base.access import Action, Caller
from api.base.fields import Input
from api.base.operations import Operation, operation_of
from api.base.resource import UnknownAddress, View
from api.docs import document

Json = dict[str, Any]

# The answer of an address without the method, and that of a bug: operations do not declare them.
UNDECLARED = {405, 500}


class Seen:
    """What a call has used so far."""

    def __init__(self) -> None:
        self.forms: set[type] = set()
        self.actions: set[Action] = set()


_seen: ContextVar[Seen | None] = ContextVar("seen", default=None)


@cache
def described() -> Json:
    """The document with every object closed, so that undeclared fields are found."""
    made = json.loads(document("json"))
    made["components"]["schemas"] = {
        name: _closed(schema, top=False) for name, schema in made["components"]["schemas"].items()
    }
    found: Json = made
    return found


def _closed(schema: Any, *, top: bool = True) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed: Json = {}
    for name, inner in schema.items():
        if name in ("allOf", "oneOf", "anyOf"):
            closed[name] = [_closed(one, top=False) for one in inner]
        elif name == "properties":
            closed[name] = {field: _closed(one) for field, one in inner.items()}
        elif name in ("items", "additionalProperties") and isinstance(inner, dict) and inner:
            closed[name] = _closed(inner)
        else:
            closed[name] = inner
    if top and ("$ref" in schema or "allOf" in schema or "properties" in schema):
        closed["unevaluatedProperties"] = False
    return closed


def response_of(operation: Operation, status: int) -> Json | None:
    """The document's response for this status."""
    for methods in described()["paths"].values():
        for one in methods.values():
            if one["operationId"] == operation.id:
                response = one["responses"].get(str(status))
                if response and "$ref" in response:
                    return dict(described()["components"]["responses"][response["$ref"].rpartition("/")[2]])
                return dict(response) if response else None
    raise AssertionError(f"{operation.id} is not in the schema")


def faults_of(instance: Any, schema: Json) -> list[str]:
    """Where the instance differs from the schema."""
    whole = {**_closed(schema), "components": described()["components"]}
    checker = Draft202012Validator(whole, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(instance)]


def check(operation: Operation | None, seen: Seen, response: Any) -> None:
    """Fail if an answer is not as declared."""
    if operation is None or response.status_code in UNDECLARED:
        return
    name, status = operation.id, response.status_code
    declared = response_of(operation, status)
    assert declared is not None, f"{name} answered {status}, which the schema does not declare: {response.data}"
    for header, rule in declared.get("headers", {}).items():
        assert not rule.get("required") or header in response, f"{name} answered {status} without {header}"
    assert seen.actions <= set(operation.who), f"{name} also checks {seen.actions - set(operation.who)}"
    known = {operation.query, operation.body}
    assert seen.forms <= known, f"{name} also reads {seen.forms - known}"
    if status not in (204, 304):
        _check_body(name, status, declared, response)


def _check_body(name: str, status: int, declared: Json, response: Any) -> None:
    is_rendered = not hasattr(response, "accepted_renderer")  # such as a stream, whose bytes are checked elsewhere
    media_type = response["Content-Type"] if is_rendered else response.content_type
    media_type = (media_type or response.accepted_renderer.media_type).partition(";")[0]
    assert media_type in declared.get("content", {}), f"{name} answered {status} as {media_type}"
    if media_type.endswith("json") and not is_rendered:
        shown = json.loads(json.dumps(response.data, default=str))
        assert not (wrong := faults_of(shown, declared["content"][media_type]["schema"])), f"{name}, {status}: {wrong}"


@contextmanager
def compared(monkeypatch: Any) -> Iterator[None]:
    """Within this block, compare every answer of a view, and the forms and actions that it used, with the schema."""
    dispatch, has_scope, run = View.dispatch, Caller._has_scope_for, Input.run_validation

    def dispatching(self: View, request: Any, *args: Any, **kwargs: Any) -> Any:
        seen = Seen()
        token = _seen.set(seen)
        try:
            response = dispatch(self, request, *args, **kwargs)
        finally:
            _seen.reset(token)
        method = getattr(type(self), request.method.lower(), None)
        if method is not None and not isinstance(self, UnknownAddress) and request.method not in ("OPTIONS", "HEAD"):
            operation = operation_of(type(self), request.method)
            assert operation is not None or type(self).__module__.startswith("tests."), f"{method} is undeclared"
            check(operation, seen, response)
        return response

    def noting_actions(self: Caller, action: Action) -> bool:
        if seen := _seen.get():
            seen.actions.add(action)
        return has_scope(self, action)

    def noting_forms(self: Input, *args: Any, **kwargs: Any) -> Any:
        if (seen := _seen.get()) and self.parent is None:
            seen.forms.add(type(self))
        return run(self, *args, **kwargs)

    monkeypatch.setattr(View, "dispatch", dispatching)
    monkeypatch.setattr(Caller, "_has_scope_for", noting_actions)
    monkeypatch.setattr(Input, "run_validation", noting_forms)
    yield
