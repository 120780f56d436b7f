"""Errors of the REST API as application/problem+json (RFC 9457), naming each field that is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import exceptions as django
from django.db import DatabaseError, IntegrityError, InterfaceError
from django.http import Http404
from django.utils.translation import gettext_lazy
from rest_framework import exceptions as rest
from rest_framework.response import Response
from rest_framework.views import set_rollback

from accounts.authority import Beyond
from accounts.refused import Refused
from runtime.faults import first_line, is_database_away
from store.throttles import ThrottleUnavailable

if TYPE_CHECKING:  # only the stubs know it
    from django.utils.functional import _StrPromise as StrPromise

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
LONGEST_DETAIL = 500


# Every word that a problem's `type` can end in, with its status and what a client's developer can do about it.
WORDS: dict[str, tuple[HTTPStatus, StrPromise]] = {
    "invalid": (
        HTTPStatus.BAD_REQUEST,
        gettext_lazy("Each entry of `errors` names a field and what is wrong with it."),
    ),
    "unreadable": (HTTPStatus.BAD_REQUEST, gettext_lazy("Send one JSON object in UTF-8, as application/json.")),
    "not_authenticated": (
        HTTPStatus.UNAUTHORIZED,
        gettext_lazy(
            "Sign in, or send Authorization: Bearer with a management key. A key for models is not valid here."
        ),
    ),
    "forbidden": (
        HTTPStatus.FORBIDDEN,
        gettext_lazy("Your role, or the scopes of the credential, do not include this."),
    ),
    "not_found": (HTTPStatus.NOT_FOUND, gettext_lazy("It does not exist, or it belongs to another account.")),
    "bad_method": (HTTPStatus.METHOD_NOT_ALLOWED, gettext_lazy("Use one of the methods in Allow.")),
    "not_acceptable": (HTTPStatus.NOT_ACCEPTABLE, gettext_lazy("Accept application/json.")),
    "conflict": (
        HTTPStatus.CONFLICT,
        gettext_lazy("The current state does not allow this. The detail says what to do instead."),
    ),
    "too_slow": (HTTPStatus.REQUEST_TIMEOUT, gettext_lazy("Send the body without pauses, over a new connection.")),
    "too_large": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, gettext_lazy("Send a smaller body.")),
    "unsupported": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        gettext_lazy("Send the body as application/json, or a file of keys as text/csv."),
    ),
    "key_reused": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        gettext_lazy("Use a new Idempotency-Key for each distinct request."),
    ),
    "too_many": (HTTPStatus.TOO_MANY_REQUESTS, gettext_lazy("Wait for the seconds in Retry-After.")),
    "internal": (HTTPStatus.INTERNAL_SERVER_ERROR, gettext_lazy("Internal error. See the service log for details.")),
    "unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, gettext_lazy("Try again after the seconds in Retry-After.")),
}
_WORD_OF = {status: word for word, (status, _) in WORDS.items() if word not in ("invalid",)}


# RFC 9110 renamed these, and Python follows from 3.13 on. The title must not depend on Python's version.
_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}


def title_of(status: HTTPStatus) -> str:
    return _RENAMED.get(status.value, status.phrase)


def problem_of(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler, for every error that a view of the API can raise."""
    set_rollback()
    match error:
        case rest.ValidationError():
            return _answer("invalid", "The request is not valid.", list(_faults(error.detail)))
        case django.ValidationError():
            return _answer("invalid", "The request is not valid.", _model_faults(error))
        case ThrottleUnavailable():
            return _away("This is counted in Redis, which cannot be reached. Try again in a moment.")
        case Beyond():
            return _answer("forbidden", str(error), headers=_challenge(error))
        case Refused():
            return _answer("conflict", str(error))
        case IntegrityError():  # a row that was looked for before writing has been written concurrently
            log.warning("concurrent changes: %s", type(error).__name__, exc_info=error)
            return _answer("conflict", "This was modified concurrently. Reload and try again.")
        case Http404():
            return _answer("not_found", "There is no such object.")
        case django.PermissionDenied():
            return _answer("forbidden", "You may not do this.")
        case DatabaseError() | InterfaceError() if is_database_away(error):
            log.error("the database is unavailable: %s", first_line(error))
            return _away("The database is unavailable. Keys keep working; try again in a moment.")
        case rest.APIException():
            return _of_rest(error)
    log.error("unhandled error in the API", exc_info=error)
    return _answer("internal", "Internal error. See the service log for details.")


def _challenge(error: Beyond) -> dict[str, str]:
    """RFC 6750, 3.1: the scope that a credential lacks."""
    if not error.scope:
        return {}
    return {"WWW-Authenticate": f'Bearer realm="authsvc", error="insufficient_scope", scope="{error.scope}"'}


def _away(detail: str) -> Response:
    return _answer("unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _of_rest(error: rest.APIException) -> Response:
    headers = {}
    if header := getattr(error, "challenge", None) or getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return _answer(_WORD_OF[HTTPStatus(error.status_code)], str(error.detail), headers=headers)


def _answer(
    word: str, detail: str, errors: list[dict[str, str]] | None = None, headers: dict[str, str] | None = None
) -> Response:
    body = document(word, detail)
    status = body["status"]
    if errors:
        body["errors"] = errors
    return Response(
        body, status=status, content_type=MEDIA_TYPE, headers={"Cache-Control": "no-store", **(headers or {})}
    )


def document(word: str, detail: str) -> dict[str, Any]:
    status, _ = WORDS[word]
    return {
        "type": f"{settings.ERRORS_URL}{word}",
        "title": title_of(status),
        "status": status.value,
        "detail": _clean(detail),
    }


def _faults(detail: Any, where: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested errors as a flat list of fields such as `limits[0].amount`."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else f"[{name}]" if isinstance(name, int) else f".{name}"
            yield from _faults(inner, f"{where}{step}".lstrip("."))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            yield from _faults(inner, f"{where}[{index}]" if isinstance(inner, dict) else where)
    else:
        yield {"field": _clean(where), "detail": _clean(detail)}


def _clean(text: object) -> str:
    """An error may quote what a client sent: bound its length, and replace what UTF-8 cannot encode."""
    return str(text)[:LONGEST_DETAIL].encode("utf-8", "replace").decode()


_NAMES = {"narrowed_to": "models", "__all__": ""}


def _model_faults(error: django.ValidationError) -> list[dict[str, str]]:
    fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    return [
        {"field": _NAMES.get(name, name), "detail": _clean(text)} for name, texts in fields.items() for text in texts
    ]
