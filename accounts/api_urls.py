"""The addresses below /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path

from accounts.api import Key, Keys, Nothing

urlpatterns = [
    path("keys/", Keys.as_view(), name="keys"),
    re_path(r"^keys/(?P<id>[0-9A-Za-z]{16})/\Z", Key.as_view(), name="key"),
    re_path(r"", Nothing.as_view()),
]
