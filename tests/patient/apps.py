from __future__ import annotations

from django.apps import AppConfig


class PatientConfig(AppConfig):
    name = "tests.patient"

    def ready(self) -> None:
        from tests.deadlines import GENEROUS_SECONDS, deadlines  # models must be ready

        for module, name in deadlines():
            setattr(module, name, GENEROUS_SECONDS)
