"""The parts of the OpenAPI document that operations share: overview, tags, components, security schemes."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from api.openapi.documented_errors import ERRORS, PROBLEM

Json = dict[str, Any]

OVERVIEW = """\
Self-service for customers, and provisioning for the operator's own systems.

**Authentication.** A request carries one credential: a signed-in browser's session (changes also need its
`X-CSRFToken`), a *management key* of one account, or an *operator token* for all accounts; the last two as
`Authorization: Bearer …`. Keys for models are not valid here, and none of these is valid at the gate.

**Ids** are public ids, **times** are RFC 3339 in UTC. Lists are paginated: follow `next` until it is null.

**Secrets** appear in one answer only. Send an `Idempotency-Key` with every request that creates one: if the answer is
lost, the same request with the same key gets the same answer, including the secret, for a day
(`Idempotency-Replayed: true`).

**202** with `"state": "pending"` means that the change is saved and will reach the gate without another request.

**Errors** are `application/problem+json` (RFC 9457); `errors` names each field that is wrong. Other accounts' objects
return 404, like those that do not exist. A method that an address does not support returns 405 with `Allow`.
Every answer has `Cache-Control: no-store`.
"""

TAGS = {
    "me": "The caller.",
    "keys": "Keys for models: issue, narrow, rotate, revoke.",
    "management keys": "The credentials that an account's own programs use for this API.",
    "imports": "Keys of another system, by the thousand.",
    "accounts": "Accounts: for their people, and for the operator's billing system.",
    "members": "The people of an account, and invitations.",
    "usage": "What was used, what is left, and why the gate decides as it does.",
    "catalogue": "Models and plans.",
    "audit": "Who did what, to what, when and from where.",
}


def complete(result: Json, generator: Any, request: Any, public: bool) -> Json:
    """drf-spectacular's hook: add the shared parts to the document of operations."""
    result["info"] = {
        "title": "authsvc",
        "version": settings.VERSION,
        "summary": "Keys, limits, usage and accounts of a self-hosted gate for model APIs.",
        "description": OVERVIEW,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    result["servers"] = [{"url": "/", "description": "The console's address, where this document came from."}]
    result["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    _forget(result["paths"], "x-spec-enum-id")
    components = result.setdefault("components", {})
    _forget(components, "x-spec-enum-id")
    components.setdefault("schemas", {}).update({"Problem": PROBLEM, "Pending": _PENDING})
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["responses"] = {name: error.response() for name, error in ERRORS.items()}
    components["headers"] = {"IdempotencyReplayed": _IDEMPOTENCY_REPLAYED}
    components["parameters"] = {"IdempotencyKey": _IDEMPOTENCY_KEY}
    components["securitySchemes"] = _SECURITY
    return result


def _forget(part: Any, name: str) -> None:
    """Remove drf-spectacular's internal markers."""
    if isinstance(part, dict):
        part.pop(name, None)
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _forget(inner, name)


_PENDING: Json = {
    "type": "object",
    "description": "Saved; the gate does not know it yet.",
    "required": ["state"],
    "properties": {"state": {"type": "string", "const": "pending"}},
}

_IDEMPOTENCY_REPLAYED: Json = {
    "description": "`true`: this repeats the answer to the first request with this Idempotency-Key.",
    "schema": {"type": "string", "const": "true"},
}

_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your own unique value for this request, such as a UUID. If the request is repeated with it within "
    "a day, nothing is created twice and the first answer is repeated, including its secret.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-+\\--\\[\\]-~]+$"},
    "example": "5b1e7a52-8e1f-4f0c-9a55-0f6f3a0f2f4e",
}

_SECURITY: Json = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "A browser that is signed in at /login/.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "For changes with a session: the value of the cookie `csrftoken`.",
    },
    "managementKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ask_mgmt_…",
        "description": "A management key: for programs of one account, with scopes.",
    },
    "operatorToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ask_oper_…",
        "description": "An operator token, created in the admin: for the operator's own systems, for all accounts.",
    },
}
