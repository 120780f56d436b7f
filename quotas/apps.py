from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class QuotasConfig(AppConfig):
    name = "quotas"
    verbose_name = gettext_lazy("Quotas")
