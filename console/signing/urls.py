"""URLs below /accounts/: the allauth views that we use."""

from __future__ import annotations

from allauth.account import views
from django.urls import include, path, re_path

from console.signing import oidc, sessions
from console.signing.limits import count_wrong_links
from console.signing.notifications import notifications

_RESET_KEY = r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$"

urlpatterns = [
    path("signup/", views.signup, name="account_signup"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("email/", views.email, name="account_email"),
    path("confirm-email/", views.email_verification_sent, name="account_email_verification_sent"),
    re_path(r"^confirm-email/(?P<key>[-:\w]+)/$", count_wrong_links(views.confirm_email), name="account_confirm_email"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/set/", views.password_set, name="account_set_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    path("password/reset/key/done/", views.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    re_path(_RESET_KEY, count_wrong_links(views.password_reset_from_key), name="account_reset_password_from_key"),
    path("second-factor/", include("allauth.mfa.urls")),
    path("oidc/login/", oidc.start, name="oidc_login"),
    path("oidc/callback/", oidc.callback, name="oidc_callback"),
    path("sessions/<int:session>/end/", sessions.end, name="session_end"),
    path("notifications/", notifications, name="notifications"),
    path("sessions/", include("allauth.usersessions.urls")),
]
