"""The OpenAPI document, and a page to read it and try calls."""

from __future__ import annotations

from functools import cache
from threading import Lock

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import condition, require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer

_RENDERERS = {
    "json": (OpenApiJsonRenderer, "application/json"),
    "yaml": (OpenApiYamlRenderer, "application/yaml"),  # RFC 9512
}
_making = Lock()


@require_safe
@condition(etag_func=lambda request: f'"{settings.VERSION}-{_form(request)}"')
def schema(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, which is public: JSON, or YAML if `?format=` or `Accept` asks for it."""
    form = _form(request)
    return HttpResponse(document(form), content_type=_RENDERERS[form][1])


@require_safe
@ensure_csrf_cookie  # people who are signed in can try changes
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI, served from our own files."""
    return render(request, "api/docs.html")


def document(form: str) -> bytes:
    """The rendered document. Made once per process, since anybody may ask for it as often as they like."""
    with _making:  # drf-spectacular keeps its warnings in a global
        return _document(form)


@cache
def _document(form: str) -> bytes:
    made = SchemaGenerator().get_schema(request=None, public=True)
    rendered: bytes = _RENDERERS[form][0]().render(made, renderer_context={})
    return rendered


def _form(request: HttpRequest) -> str:
    wanted = request.GET.get("format") or ("yaml" if "yaml" in request.headers.get("Accept", "") else "json")
    return wanted if wanted in _RENDERERS else "json"
