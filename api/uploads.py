"""Who may send a large body: asked before any of it is read."""

from __future__ import annotations

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from api.base.resource import query_of
from api.imports import ImportQuery, Imports


def is_upload(method: str, path: str) -> bool:
    """May a body there be longer than elsewhere?"""
    return method == "POST" and path == reverse("imports")


def refusal_of(request: HttpRequest) -> HttpResponse | None:
    """What the view would answer to this request whatever its body is; None if it would look at one."""
    SessionMiddleware(_nothing).process_request(request)
    AuthenticationMiddleware(_nothing).process_request(request)
    response = _Asked.as_view()(request)
    return None if response.status_code == 204 else response.render()


class _Asked(Imports):
    """Everything that comes before the body: the caller, the credential's scope, the account, the throttle."""

    def post(self, request: Request) -> Response:
        self.ask(request, query_of(request, ImportQuery))
        return Response(status=204)


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
