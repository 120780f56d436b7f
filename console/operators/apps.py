from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class OperatorsAdminConfig(AdminConfig):
    """Django's admin, with our site in place of its own."""

    default_site = "console.operators.site.OperatorSite"

    def ready(self) -> None:
        from console.operators.translated import translate_tables

        super().ready()
        translate_tables(admin.site)
