"""The admin as operators meet it: Django's, with a front page, tools and a sidebar of ours (docs/decisions/0037)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.translation import gettext_lazy as _

from console.operators.explaining import explaining
from console.operators.front import front
from console.operators.places import sidebar, tables
from console.operators.refused import refused
from console.operators.usage import usage
from console.operators.which_key import which_key


class OperatorSite(AdminSite):
    enable_nav_sidebar = False  # ours is in the frame
    index_title = _("Overview")
    site_url = "/console/"

    @property
    def site_header(self) -> str:  # type: ignore[override]
        return str(settings.BRAND_NAME)

    @property
    def site_title(self) -> str:  # type: ignore[override]
        return str(settings.BRAND_NAME)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        pages = {
            "usage": usage,
            "refused": refused,
            "which-key": which_key,
            "explain": explaining,
            "tables": self.tables,
        }
        ours = [path(f"{name}/", self.admin_view(page), name=name.replace("-", "_")) for name, page in pages.items()]
        return [*ours, *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().each_context(request), "sidebar": sidebar(self, request)}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        app_list = super().get_app_list(request, app_label)
        return app_list if app_label else tables(self, request, app_list)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**front(request), **(extra_context or {})})

    def tables(self, request: HttpRequest) -> HttpResponse:
        """Every table, also those that the sidebar leaves out."""
        context = {**self.each_context(request), "title": _("All tables"), "app_list": self.get_app_list(request)}
        return TemplateResponse(request, "admin/tables.html", context)
