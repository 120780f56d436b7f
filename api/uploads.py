"""Whether the caller may send a large body, decided before any of it is read."""

from __future__ import annotations

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from api.base.resource import query_of
from api.imports import ImportQuery, Imports, admit


def is_upload(method: str, path: str) -> bool:
    """Whether a body may be longer here than elsewhere."""
    return method == "POST" and path == reverse("imports")


def refusal_of(request: HttpRequest) -> HttpResponse | None:
    """The view's refusal of this request whatever its body is; None if the body matters."""
    SessionMiddleware(_nothing).process_request(request)
    AuthenticationMiddleware(_nothing).process_request(request)
    response = _Admission.as_view()(request)
    return None if response.status_code == 204 else response.render()


class _Admission(Imports):
    """Everything that is checked before the body: the caller, the scope, the account, the throttle."""

    def post(self, request: Request) -> Response:
        admit(self.caller, request, query_of(request, ImportQuery))
        return Response(status=204)


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
