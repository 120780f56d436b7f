"""The console's refusals from outside any view: a problem document below /api/, plain text elsewhere."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from api.base.problems import MEDIA_TYPE, RETRY_SECONDS, WORDS, document, title_of
from console.frame import brand
from runtime.faults import first_line, is_database_away
from runtime.request_ids import serving

log = logging.getLogger(__name__)


def refusal(path: str, word: str, detail: str, *, retry: bool = False) -> HttpResponse:
    """`word` is a problem's code; `retry` adds Retry-After."""
    status = WORDS[word][0]
    if path.startswith("/api/"):
        content, media_type = json.dumps(document(word, detail)), MEDIA_TYPE
    else:
        content, media_type = f"{status.value} {title_of(status)}\n{detail}\n", "text/plain; charset=utf-8"
    headers = {"Cache-Control": "no-store", **({"Retry-After": str(RETRY_SECONDS)} if retry else {})}
    return HttpResponse(content, media_type, status.value, headers=headers)


def broken(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`: if the database is unavailable, answer 503 and log one line instead of a traceback."""
    error = sys.exc_info()[1]
    if error is None or not is_database_away(error):
        return _fault(request)
    log.error("the database is unavailable (%s): %s", first_line(error), request.path)
    response = refusal(request.path, "unavailable", "The database is unavailable. Try again in a moment.", retry=True)
    response._has_been_logged = True  # type: ignore[attr-defined]  # otherwise Django adds a traceback
    return response


def _fault(request: HttpRequest) -> HttpResponse:
    """A page with the request's id. It is made without the context of other pages, which may be what failed."""
    identity = serving.get()
    if not request.path.startswith("/api/"):
        try:
            page = render_to_string("500.html", {**brand(request), "request_id": identity})
            return HttpResponse(page, status=500, headers={"Cache-Control": "no-store"})
        except Exception:
            log.exception("the page for an internal error failed too")
    return refusal(request.path, "internal", f"Internal error. The service log has details for request {identity}.")


class NoNuls:
    """No name, id or filter contains a NUL, and PostgreSQL would raise an error on one in mid-query."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            return refusal(request.path_info, "unreadable", "The URL contains a NUL character.")
        return self._get_response(request)
