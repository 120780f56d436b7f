"""drf-spectacular's view of an operation: everything comes from its `@Operation` and its docstring."""

from __future__ import annotations

import inspect
import re
from typing import Any

from django.urls.converters import get_converters
from drf_spectacular.drainage import error
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent, build_array_type
from rest_framework import serializers

from api.base.addresses import AddressPart
from api.base.fields import Input
from api.base.operations import Operation, PendingChange, SerializerClass, operation_of
from api.openapi import field_types  # noqa: F401, they register themselves
from api.openapi.documented_errors import SAFE, errors_of
from api.openapi.who import security_of, who_may

Json = dict[str, Any]
JSON = "application/json"

_USUAL_PARAMETERS = {"order": "The order; `-` reverses it.", "outcome": "Only lines with this outcome."}
_DONE = {
    200: "Done.",
    201: "Created.",
    202: "Saved, but still pending: the gate does not know it yet.",
    204: "Success; no content.",
}


class OperationSchema(AutoSchema):
    """A view's method in the document. A method without `@Operation` is an error."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Json | None:
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        one = operation_of(type(self.view), method)
        if one is None:
            error(f"{method} {path} has no @Operation")
            return None
        summary, more = words_of(getattr(type(self.view), method.lower()))
        self.operation = one
        return {
            "operationId": one.id,
            "summary": summary,
            "description": "\n\n".join(filter(None, [more, one.notes, who_may(one)])),
            "tags": [one.tag],
            "parameters": self._parameters(),
            **self._body(one),
            "security": security_of(one, is_change=self.method not in SAFE),
            "responses": self._answers(),
        }

    # Parameters and bodies.

    def get_override_parameters(self) -> list[Any]:
        return [self.operation.query] if self.operation.query else []

    def _parameters(self) -> list[Json]:
        in_path = [_in_path(*found) for found in re.findall(r"<(\w+):(\w+)>", self.path_regex)]
        in_query = list(self._process_override_parameters().values())  # type: ignore[no-untyped-call]
        for place in in_query:
            if "enum" in place["schema"]:
                place["schema"].pop("minLength", None)
            if words := _USUAL_PARAMETERS.get(place["name"]):
                place.setdefault("description", words)
        if self.operation.once:
            in_query.append({"$ref": "#/components/parameters/IdempotencyKey"})
        return [*in_path, *in_query]

    def _body(self, one: Operation) -> Json:
        content = dict(one.uploads or {})
        if one.body:
            serializer = one.body(partial=one.is_partial)
            schema = self.resolve_serializer(serializer, "request").ref
            content[JSON] = {"schema": schema, "example": _example(one.body)}
        return {"requestBody": {"required": True, "content": content}} if content else {}

    def _map_serializer(self, serializer: Any, direction: str, bypass_extensions: bool = False) -> Json:
        schema: Json = super()._map_serializer(serializer, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        form = type(serializer)
        schema.pop("description", None)
        if form.__doc__ and "__doc__" in vars(form):
            schema["description"] = first_sentence(form.__doc__)
        for field in schema["properties"].values():
            if "pattern" in field:
                field["pattern"] = _ecma(field["pattern"])
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        if direction == "request" and serializer.partial:
            schema.pop("required", None)
            for field in schema["properties"].values():
                field.pop("default", None)  # an omitted field stays unchanged
        return schema

    def _get_serializer_name(self, serializer: Any, direction: str, bypass_extensions: bool = False) -> str:
        form = serializer.child if isinstance(serializer, serializers.ListSerializer) else serializer
        return type(form).__name__.removesuffix("Out")

    # Answers.

    def _answers(self) -> Json:
        one = self.operation
        answers: Json = {str(one.status): self._answer(one, one.status)}
        for status, words in (one.also or {}).items():
            answers[str(status)] = {**({} if status == 204 else self._answer(one, status)), "description": words}
        if one.may_be_pending:
            answers["202"] = self._pending(one)
        for status, name in errors_of(one, self.method, has_path="<" in self.path_regex).items():
            answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return dict(sorted(answers.items()))

    def _answer(self, one: Operation, status: int) -> Json:
        if one.answer is None:
            return {"description": _DONE[status]}
        schema, example = self._shown(one.answer), _example(one.answer)
        if one.is_list:
            schema, example = self._page(one.answer, schema), {"next": None, "previous": None, "results": [example]}
        content: Json = {JSON: {"schema": schema, "example": example}}
        for media_type, text in (one.also_as or {}).items():
            content[media_type] = {"schema": {"type": "string"}, "example": text}
        return {"description": one.done or _DONE[status], **_headers(one), "content": content, **_links(one)}

    def _pending(self, one: Operation) -> Json:
        form = one.answer or PendingChange
        state = {
            "type": "object",
            "required": ["state"],
            "properties": {"state": {"type": "string", "const": "pending"}},
        }
        schema = {"allOf": [self._shown(form), state]}
        content = {JSON: {"schema": schema, "example": {**_example(form), "state": "pending"}}}
        return {"description": _DONE[202], **_headers(one), "content": content, **_links(one)}

    def _shown(self, form: SerializerClass) -> Json:
        ref: Json = self.resolve_serializer(form(), "response").ref
        return ref

    def _page(self, form: SerializerClass, schema: Json) -> Json:
        name = f"PageOf{form.__name__.removesuffix('Out')}"
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": link, "previous": link, "results": build_array_type(schema)}
        page = {"type": "object", "required": list(properties), "properties": properties}
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, schema=page, object=name)
        self.registry.register_on_missing(component)
        ref: Json = component.ref
        return ref


def words_of(method: Any) -> tuple[str, str]:
    """The docstring's first sentence without its full stop, and the rest."""
    text = " ".join((inspect.getdoc(method) or "").split())
    if not text:
        error(f"{method.__qualname__} has no docstring")
    first = first_sentence(text)
    return first.rstrip("."), text[len(first) :].strip()


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]


def _in_path(converter: str, name: str) -> Json:
    part = get_converters()[converter]
    assert isinstance(part, AddressPart)
    schema = {"type": "string", "pattern": _ecma(part.pattern)}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": part.example}


def _ecma(pattern: str) -> str:
    r"""OpenAPI's regular expressions are JavaScript's, which have no \Z."""
    return pattern.replace(r"\Z", "$")


def _example(form: SerializerClass) -> Any:
    example = getattr(form, "example", None)
    if example is None or "example" not in vars(form):
        error(f"{form.__name__} has no example")
    return example


def _headers(one: Operation) -> Json:
    headers: Json = {
        name: {"description": words, "required": True, "schema": {"type": "string"}}
        for name, words in (one.headers or {}).items()
    }
    if one.once:
        headers["Idempotency-Replayed"] = {"$ref": "#/components/headers/IdempotencyReplayed"}
    return {"headers": headers} if headers else {}


def _links(one: Operation) -> Json:
    links = {
        target: {"operationId": target, "parameters": {name: "$response.body#/id"}}
        for target, name in (one.links or {}).items()
    }
    return {"links": links} if links else {}
