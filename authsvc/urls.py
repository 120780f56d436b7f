"""The URL map of the console and the REST API."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from accounts.admin.people import own_password
from api.base.problems import WORDS
from authsvc.gate.view import auth
from console import first_operator, pages
from console.invitation import invitation

handler500 = "authsvc.refusals.broken"

urlpatterns = [
    path("auth/", auth),  # GateFirst answers it sooner; this is for `reverse` and the reader
    path("", RedirectView.as_view(pattern_name="console")),
    path("admin/password_change/", admin.site.admin_view(own_password)),  # before Django's own, to write an audit event
    path("admin/", admin.site.urls),
    path(
        "login/",
        LoginView.as_view(template_name="console/door/sign_in.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("console/", include("console.urls")),
    path("first-operator/", first_operator.create, name="first_operator_form"),
    path("first-operator/<str:token>/", first_operator.enter, name="first_operator"),
    path("invitations/<str:token>/", invitation, name="invitation"),
    path("errors/<slug:code>", pages.error, {"words_of_api": WORDS}, name="error"),
    path("api/v1/", include("api.urls")),
]
