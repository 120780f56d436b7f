"""Gives each of the console's requests an id, as the gate does."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from authsvc.gate.forwarded import request_id
from runtime.request_ids import HEADER, serving


class Identified:
    """A valid `traceparent` determines the id: then it is that of the trace, in Traefik and wherever it leads."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        trace = str(request.META.get("HTTP_TRACEPARENT", "")).encode("latin-1", "replace")
        identity = request_id({b"traceparent": trace}).decode()
        before = serving.set(identity)
        try:
            response = self._get_response(request)
        finally:
            serving.reset(before)
        response[HEADER] = identity
        return response
