"""The OpenAPI document: drf-spectacular, told by the table of operations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.urls.converters import get_converters
from drf_spectacular.drainage import error
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent, build_array_type
from rest_framework import serializers

from accounts.models import Membership
from api.base import examples
from api.base.access import ANY, NEVER, Action
from api.base.authentication import REALM
from api.base.fields import Strict
from api.base.operations import TAGS, Form, Operation, PendingChange, operation_of
from api.base.paging import Pages
from api.base.problems import MEDIA_TYPE, WORDS, title_of
from quotas.usage.reading import GROUPS

Json = dict[str, Any]

JSON = "application/json"
_NAMING = {"account", "external_id", "key", "string"}  # fields that lead to something that may not exist
SAFE = {"GET", "HEAD", "OPTIONS"}

OVERVIEW = """\
Self-service for customers and provisioning for the operator's own systems.

**Who asks** says so with one credential: a signed-in browser's session (changes need its `X-CSRFToken` too), a
*management key* of one account, or an *operator token* over all accounts; the last two as `Authorization: Bearer …`.
A key for models is never taken here, and none of these by the gate for models.

**Ids** are the public ones, **times** RFC 3339 in UTC. A list is read page by page: follow `next` until it is null.

**Secrets** are in one answer only. Send an `Idempotency-Key` with what makes one: if the answer is lost, the same
request with the same key is answered again with the same secret, for a day (`Idempotency-Replayed: true`).

**202** with `"state": "pending"`: the change is saved, the gate does not know it yet, and it will follow by itself.

**Errors** are `application/problem+json` (RFC 9457); `errors` names each field that is wrong. Somebody else's object
is a 404 like one that does not exist. Any call with a method that its address does not have is a 405 with `Allow`.
Every answer has `Cache-Control: no-store`.
"""


class Schema(AutoSchema):
    """What a view's method is in the document. A method that the table of operations does not have is an error."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Json | None:
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        one = operation_of(type(self.view), method)
        if one is None:
            error(f"{method} {path} is not in api/base/operations.py")
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
        in_path = [self._in_path(*found) for found in re.findall(r"<(?:(\w+):)?(\w+)>", self.path_regex)]
        in_query = list(self._process_override_parameters().values())  # type: ignore[no-untyped-call]
        for place in in_query:
            if "enum" in place["schema"]:
                place["schema"].pop("minLength", None)
            if words := _USUAL_PARAMETERS.get(place["name"]):
                place.setdefault("description", words)
        if self.operation.once:
            in_query.append({"$ref": "#/components/parameters/IdempotencyKey"})
        return [*in_path, *in_query]

    def _in_path(self, converter: str, name: str) -> Json:
        example = examples.PARAMETERS.get(name if converter in ("", "str") else converter)
        if example is None:
            error(f"api/base/examples.py has no example for <{converter}:{name}>")
        pattern = examples.PATTERNS.get(name) or f"^{get_converters()[converter or 'str'].regex}$"
        schema = {"type": "string", "pattern": _ecma(pattern)}
        return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}

    def _body(self, one: Operation) -> Json:
        content = dict(one.uploads or {})
        if one.body:
            serializer = one.body(partial=self.method == "PATCH" or one.is_partial)
            schema = self.resolve_serializer(serializer, "request").ref
            content[JSON] = {"schema": schema, "example": _example(examples.BODIES, one.body)}
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
        if isinstance(serializer, Strict):
            schema["additionalProperties"] = False
        if direction == "request" and serializer.partial:
            schema.pop("required", None)
            for field in schema["properties"].values():
                field.pop("default", None)  # what is left out stays
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
        for status, name in errors_of(one, self.method, has_path=bool(re.search(r"<\w", self.path_regex))).items():
            answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return dict(sorted(answers.items()))

    def _answer(self, one: Operation, status: int) -> Json:
        if one.answer is None:
            return {"description": _DONE[status]}
        schema, example = self._shown(one.answer), _example(examples.ANSWERS, one.answer)
        if one.is_list:
            schema, example = self._page(one.answer, schema), {"next": None, "previous": None, "results": [example]}
        content: Json = {JSON: {"schema": schema, "example": example}}
        for media_type, text in (one.also_as or {}).items():
            content[media_type] = {"schema": {"type": "string"}, "example": text}
        return {"description": one.done or _DONE[status], **self._headers(one), "content": content, **_links(one)}

    def _pending(self, one: Operation) -> Json:
        form = one.answer or PendingChange
        state = {
            "type": "object",
            "required": ["state"],
            "properties": {"state": {"type": "string", "const": "pending"}},
        }
        schema = {"allOf": [self._shown(form), state]}
        example = {**_example(examples.ANSWERS, form), "state": "pending"}
        content = {JSON: {"schema": schema, "example": example}}
        return {"description": _DONE[202], **self._headers(one), "content": content, **_links(one)}

    def _headers(self, one: Operation) -> Json:
        headers: Json = {
            name: {"description": words, "required": True, "schema": {"type": "string"}}
            for name, words in (one.headers or {}).items()
        }
        if one.once:
            headers["Idempotency-Replayed"] = {"$ref": "#/components/headers/IdempotencyReplayed"}
        return {"headers": headers} if headers else {}

    def _shown(self, form: Form) -> Json:
        ref: Json = self.resolve_serializer(form(), "response").ref
        return ref

    def _page(self, form: Form, schema: Json) -> Json:
        name = f"PageOf{form.__name__.removesuffix('Out')}"
        pages = Pages().get_paginated_response_schema(build_array_type(schema))
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, schema=pages, object=name)
        self.registry.register_on_missing(component)
        ref: Json = component.ref
        return ref


class MetadataField(OpenApiSerializerFieldExtension):
    target_class = "api.base.fields.Metadata"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Json:
        return {"type": "object", "additionalProperties": {}}


class TextListField(OpenApiSerializerFieldExtension):
    target_class = "api.base.fields.TextList"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Json:
        return {"type": "array", "items": {"type": "string"}}


class GroupsField(OpenApiSerializerFieldExtension):
    target_class = "api.usage.Groups"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Json:
        one = f"({'|'.join(GROUPS)})"
        return {"type": "string", "pattern": f"^{one}(,{one})*$", "default": "", "examples": ["account,key"]}


# Words.

_USUAL_PARAMETERS = {"order": "The order; `-` turns it round.", "outcome": "Only lines with this outcome."}
_DONE = {
    200: "Done.",
    201: "Made.",
    202: "Saved, and pending: the gate does not know it yet.",
    204: "Done; there is nothing to say.",
}


def words_of(method: Any) -> tuple[str, str]:
    """The first sentence of a docstring without its full stop, and the rest."""
    text = " ".join((inspect.getdoc(method) or "").split())
    if not text:
        error(f"{method.__qualname__} has no docstring")
    first = first_sentence(text)
    return first.rstrip("."), text[len(first) :].strip()


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]


def who_may(one: Operation) -> str:
    """A sentence for each kind of caller, from the table in access.py."""
    return "\n".join(f"- To {action.words}: {'; '.join(_callers(action))}." for action in one.who)


def _callers(action: Action) -> list[str]:
    roles = [role for role in Membership.Role.values if role in action.roles]
    own = [role for role in Membership.Role.values if role in action.own]
    said = []
    if roles:
        said.append(f"signed in as {', '.join(roles)}" + (f" ({', '.join(own)}: what they made)" if own else ""))
    for kind, scope in (("management key", action.management), ("operator", action.operator)):
        if scope == ANY:
            said.append(f"any {kind}")
        elif scope != NEVER:
            said.append(f"{kind} with `{scope}`")
    return said


# Who may.


def security_of(one: Operation, *, is_change: bool) -> list[Json]:
    """Any one of these; scopes as OpenAPI 3.1 lets them stand beside a scheme that is not OAuth."""
    session: Json = {"session": [], "csrf": []} if is_change else {"session": []}
    found = [session]
    for scheme, scopes in (
        ("managementKey", [action.management for action in one.who]),
        ("operatorToken", [action.operator for action in one.who]),
    ):
        for scope in dict.fromkeys(scope for scope in scopes if scope != NEVER):
            found.append({scheme: [] if scope == ANY else [scope]})
    return found


def errors_of(one: Operation, method: str, *, has_path: bool) -> dict[int, str]:
    """Every error that this can end with: status → name of the component."""
    names_things = any(_NAMING & set(getattr(form, "_declared_fields", ())) for form in (one.query, one.body) if form)
    open_to_all = all(action.management == action.operator == ANY for action in one.who)
    is_change = method not in SAFE
    return {
        **({400: "Invalid"} if one.query or one.body or one.once else {}),
        401: "Unauthorized",
        **({} if open_to_all and not is_change else {403: "Forbidden"}),
        **({404: "NotFound"} if has_path or names_things else {}),
        406: "NotAcceptable",
        **({409: "Conflict"} if one.may_conflict or one.once else {}),
        **({408: "TooSlow", 413: "TooLarge", 415: "UnsupportedMediaType"} if one.body or one.uploads else {}),
        **({422: "Unprocessable"} if one.once else {}),
        429: "TooMany",
        503: "Unavailable",
    }


# What is shared: appended to the document.


def complete(result: Json, generator: Any, request: Any, public: bool) -> Json:
    """drf-spectacular's hook: overview, tags and the components that operations point to."""
    result["info"] = {
        "title": "authsvc",
        "version": settings.VERSION,
        "summary": "Keys, limits, usage and accounts of a self-hosted gate for model APIs.",
        "description": OVERVIEW,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    result["servers"] = [{"url": "/", "description": "Where this document came from: the console's address."}]
    result["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    _forget(result["paths"], "x-spec-enum-id")
    components = result.setdefault("components", {})
    _forget(components, "x-spec-enum-id")
    components.setdefault("schemas", {}).update({"Problem": _PROBLEM, "Pending": _PENDING})
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["responses"] = {name: _problem_response(*row) for name, row in _ERRORS.items()}
    components["headers"] = {"IdempotencyReplayed": _HEADERS["IdempotencyReplayed"]}
    components["parameters"] = {"IdempotencyKey": _IDEMPOTENCY_KEY}
    components["securitySchemes"] = _SECURITY
    return result


def _ecma(pattern: str) -> str:
    r"""OpenAPI's regular expressions are JavaScript's, which have no \Z."""
    return pattern.replace(r"\Z", "$")


def _forget(part: Any, name: str) -> None:
    """Take a word of drf-spectacular's own out of the document."""
    if isinstance(part, dict):
        part.pop(name, None)
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _forget(inner, name)


def _example(known: Mapping[type, Any], form: Form) -> Any:
    if form not in known:
        error(f"api/base/examples.py has no example for {form.__name__}")
    return known.get(form)


def _links(one: Operation) -> Json:
    links = {
        target: {"operationId": target, "parameters": {name: "$response.body#/id"}}
        for target, name in (one.links or {}).items()
    }
    return {"links": links} if links else {}


_PENDING: Json = {
    "type": "object",
    "description": "Saved; the gate does not know it yet.",
    "required": ["state"],
    "properties": {"state": {"type": "string", "const": "pending"}},
}

_PROBLEM: Json = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "description": f"Its last word names the kind of error: {', '.join(f'`{word}`' for word in WORDS)}.",
        },
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "What is wrong with each field.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {"type": "string", "description": "The way to it, such as `limits[0].amount`."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_ERRORS: Mapping[str, tuple[str, str, str]] = {
    # name of the component: word of the problem, detail, when
    "Invalid": ("invalid", "The request is not valid.", "The body, the query or a header is not valid."),
    "Unauthorized": (
        "not_authenticated", "This credential is not valid.",
        "There is no credential, or none that is valid (any more).",
    ),
    "Forbidden": (
        "forbidden", "You may not do this.",
        "The role or the scope is missing, or the X-CSRFToken of a session. `WWW-Authenticate` names the scope.",
    ),
    "NotFound": ("not_found", "There is no such thing.", "It does not exist, or is none of the caller's."),
    "MethodNotAllowed": ("bad_method", 'Method "PUT" not allowed.', "`Allow` lists the methods."),
    "NotAcceptable": (
        "not_acceptable", "Could not satisfy the request Accept header.", "`Accept` wants what there is not."
    ),
    "Conflict": (
        "conflict", f"The key {examples.KEY_ID} is revoked. Issue a new one.",
        "It is in a state that does not allow this, or the same is being done just now (`Retry-After`).",
    ),
    "TooSlow": ("too_slow", "The body did not arrive in time.", "The body came too slowly; the connection is closed."),
    "TooLarge": ("too_large", "The body is longer than 256 KB.", "The body is too long."),
    "UnsupportedMediaType": (
        "unsupported", 'Unsupported media type "text/plain" in request.', "The body has another `Content-Type`."
    ),
    "Unprocessable": (
        "key_reused", "This Idempotency-Key came with another request before: take a new one for each.",
        "The Idempotency-Key belongs to another request.",
    ),
    "TooMany": (
        "too_many", "Request was throttled. Expected available in 7 seconds.",
        "Too many such calls: try again after the seconds in `Retry-After`.",
    ),
    "Unavailable": (
        "unavailable", "The database cannot be reached. Keys go on working; try this again in a moment.",
        "A store cannot be reached: try again after the seconds in `Retry-After`.",
    ),
}  # fmt: skip

_OF_ERRORS: Mapping[int, dict[str, bool]] = {  # header → whether it is always there
    401: {"WWW-Authenticate": True},
    403: {"WWW-Authenticate": False},
    405: {"Allow": True},
    409: {"Retry-After": False},
    429: {"Retry-After": True},
    503: {"Retry-After": True},
}

_HEADERS: Json = {
    "IdempotencyReplayed": {
        "description": "`true`: the answer to the first request with this Idempotency-Key, once more.",
        "schema": {"type": "string", "const": "true"},
    },
    "WWWAuthenticate": {
        "description": "What credential or scope would be needed (RFC 6750).",
        "schema": {"type": "string"},
        "example": f'{REALM}, error="invalid_token"',
    },
    "RetryAfter": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}, "example": 5},
    "Allow": {"description": "Methods, with commas.", "schema": {"type": "string"}, "example": "GET, POST"},
}

_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A value of your own for this request, such as a UUID. Sent again within a day, nothing is made "
    "twice and the first answer is repeated, with its secret.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-+\\--\\[\\]-~]+$"},
    "example": "5b1e7a52-8e1f-4f0c-9a55-0f6f3a0f2f4e",
}

_SECURITY: Json = {
    "session": {
        "type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A browser that is signed in at /login/.",
    },
    "csrf": {
        "type": "apiKey", "in": "header", "name": "X-CSRFToken",
        "description": "Beside a session, for changes: the value of the cookie `csrftoken`.",
    },
    "managementKey": {
        "type": "http", "scheme": "bearer", "bearerFormat": "ask_mgmt_…",
        "description": "A management key: for programs of one account, with scopes.",
    },
    "operatorToken": {
        "type": "http", "scheme": "bearer", "bearerFormat": "ask_oper_…",
        "description": "An operator token, made in the admin: for the operator's own systems, over all accounts.",
    },
}  # fmt: skip


def _problem_response(word: str, detail: str, when: str) -> Json:
    status, _ = WORDS[word]
    example: Json = {
        "type": f"https://console.example.com/errors/{word}", "title": title_of(status), "status": status.value,
        "detail": detail,
    }  # fmt: skip
    if word == "invalid":
        example["errors"] = [{"field": "expires_at", "detail": "This time has passed."}]
    headers = {
        name: {**_HEADERS[name.replace("-", "")], "required": always}
        for name, always in _OF_ERRORS.get(status.value, {}).items()
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": when, **({"headers": headers} if headers else {}), "content": content}
