"""Errors in the document: which of them an operation can answer, and the components that they refer to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from accounts.authority import ANY
from api.base.addresses import EXAMPLE_KEY
from api.base.authentication import REALM
from api.base.operations import Operation
from api.base.problems import MEDIA_TYPE, WORDS, title_of

Json = dict[str, Any]

SAFE = {"GET", "HEAD", "OPTIONS"}
_NAMING = {"account", "external_id", "key", "string"}  # fields that name something which may not exist


def errors_of(one: Operation, method: str, *, has_path: bool) -> dict[int, str]:
    """Every error that the operation can answer: status → name of the component."""
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


PROBLEM: Json = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "description": f"Ends in a word for the kind of error: {', '.join(f'`{word}`' for word in WORDS)}.",
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
                    "field": {"type": "string", "description": "The path to the field, such as `limits[0].amount`."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

HEADERS: Json = {
    "WWW-Authenticate": {
        "description": "The credential or scope that is required (RFC 6750).",
        "schema": {"type": "string"},
        "example": f'{REALM}, error="invalid_token"',
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}, "example": 5},
    "Allow": {
        "description": "Methods, separated by commas.",
        "schema": {"type": "string"},
        "example": "GET, POST",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedError:
    """A component of the document. `headers` says of each whether it is always sent."""

    word: str  # of the problem
    detail: str  # an example
    when: str
    headers: dict[str, bool] = field(default_factory=dict)

    def response(self) -> Json:
        status, _ = WORDS[self.word]
        example: Json = {
            "type": f"https://console.example.com/errors/{self.word}",
            "title": title_of(status),
            "status": status.value,
            "detail": self.detail,
        }
        if self.word == "invalid":
            example["errors"] = [{"field": "expires_at", "detail": "This time has passed."}]
        headers = {name: {**HEADERS[name], "required": always} for name, always in self.headers.items()}
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
        return {"description": self.when, **({"headers": headers} if headers else {}), "content": content}


ERRORS = {
    "Invalid": DocumentedError(
        word="invalid",
        detail="The request is not valid.",
        when="The body, the query or a header is not valid.",
    ),
    "Unauthorized": DocumentedError(
        word="not_authenticated",
        detail="This credential is not valid.",
        when="The credential is missing or not valid, or no longer valid.",
        headers={"WWW-Authenticate": True},
    ),
    "Forbidden": DocumentedError(
        word="forbidden",
        detail="You may not do this.",
        when="The role or scope is missing, or a session's X-CSRFToken. `WWW-Authenticate` names the scope.",
        headers={"WWW-Authenticate": False},
    ),
    "NotFound": DocumentedError(
        word="not_found",
        detail="There is no such object.",
        when="It does not exist, or belongs to another account.",
    ),
    "MethodNotAllowed": DocumentedError(
        word="bad_method",
        detail='Method "PUT" not allowed.',
        when="`Allow` lists the methods.",
        headers={"Allow": True},
    ),
    "NotAcceptable": DocumentedError(
        word="not_acceptable",
        detail="Could not satisfy the request Accept header.",
        when="None of the types in `Accept` is available.",
    ),
    "Conflict": DocumentedError(
        word="conflict",
        detail=f"The key {EXAMPLE_KEY} is revoked. Issue a new one.",
        when="Its state does not allow this, or the same request is still being processed (`Retry-After`).",
        headers={"Retry-After": False},
    ),
    "TooSlow": DocumentedError(
        word="too_slow",
        detail="The body did not arrive in time.",
        when="The body arrived too slowly. The connection is closed.",
    ),
    "TooLarge": DocumentedError(
        word="too_large", detail="The body is longer than 256 KB.", when="The body is too long."
    ),
    "UnsupportedMediaType": DocumentedError(
        word="unsupported",
        detail='Unsupported media type "text/plain" in request.',
        when="The body's `Content-Type` is not supported.",
    ),
    "Unprocessable": DocumentedError(
        word="key_reused",
        detail="This Idempotency-Key was used for a different request. Use a new one for each distinct request.",
        when="The Idempotency-Key belongs to a different request.",
    ),
    "TooMany": DocumentedError(
        word="too_many",
        detail="Request was throttled. Expected available in 7 seconds.",
        when="Too many such calls. Try again after the seconds in `Retry-After`.",
        headers={"Retry-After": True},
    ),
    "Unavailable": DocumentedError(
        word="unavailable",
        detail="The database is unavailable. Keys keep working; try again in a moment.",
        when="A data store cannot be reached. Try again after the seconds in `Retry-After`.",
        headers={"Retry-After": True},
    ),
}
