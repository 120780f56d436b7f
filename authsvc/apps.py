from __future__ import annotations

from django.apps import AppConfig


class AuthsvcConfig(AppConfig):
    name = "authsvc"

    def ready(self) -> None:
        from authsvc import checks  # noqa: F401  registers them
