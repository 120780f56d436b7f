"""The URL map of the console and the REST API."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from allauth.account.views import login, logout
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from accounts.admin.people import own_password
from api.base.problems import WORDS
from api.openapi.samples import sample_of
from authsvc.gate.view import auth
from console import first_operator, pages
from console.invitation import invitation
from console.signing.limits import count_form, count_wrong_links
from console.signing.mailbox import mailbox

handler500 = "authsvc.refusals.broken"

urlpatterns = [
    path("auth/", auth),  # GateFirst answers it sooner; this is for `reverse` and the reader
    path("", RedirectView.as_view(pattern_name="console")),
    path("admin/password_change/", admin.site.admin_view(count_form(own_password))),  # to count and to audit it
    path("admin/login/", secure_admin_login(admin.site.login)),  # before Django's own: everybody uses /login/
    path("admin/", admin.site.urls),
    path("login/", login, name="account_login"),  # allauth asks for it by this name, we by the next
    path("login/", login, name="login"),
    path("logout/", logout, name="account_logout"),
    path("logout/", logout, name="logout"),
    path("accounts/", include("console.signing.urls")),
    path("mailbox/", mailbox, name="mailbox"),
    path("console/", include("console.urls")),
    path("first-operator/", count_wrong_links(count_form(first_operator.create)), name="first_operator_form"),
    path("first-operator/<str:token>/", count_wrong_links(first_operator.enter), name="first_operator"),
    path("invitations/<str:token>/", count_wrong_links(count_form(invitation)), name="invitation"),
    path("errors/<slug:code>", pages.error, {"words_of_api": WORDS, "sample_of": sample_of}, name="error"),
    path("api/v1/", include("api.urls")),
]
