from __future__ import annotations

from django.apps import AppConfig


class TraefikConfig(AppConfig):
    name = "traefik"
