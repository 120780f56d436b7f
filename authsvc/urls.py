"""The URL map of the control plane."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from authsvc.gate.view import auth

urlpatterns = [
    path("auth/", auth),  # GateFirst is faster; this is where `reverse` and the reader find it
    path("admin/", admin.site.urls),
    path("api/v1/", include("accounts.api_urls")),
]
