"""The link that makes the first operator: signed, valid for an hour, and only while there is no operator.

Django's signing makes and checks it; docs/decisions/0031 says why its password-reset views and tokens do not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.forms import UserCreationForm, UsernameField
from django.core.signing import BadSignature, TimestampSigner
from django.db import Error as DatabaseError
from django.forms import EmailField, EmailInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import User
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.roles import create_first_operator
from console.signing.newcomers import let_in

if TYPE_CHECKING:
    _UserCreationForm = UserCreationForm[User]
else:
    _UserCreationForm = UserCreationForm  # Django's class takes no type at run time

LIFE = timedelta(hours=1)
_TOKEN = "first_operator_token"  # noqa: S105  the session's name for it


def new_link() -> str | None:
    """A fresh link, or None if there is an operator who can sign in."""
    if _has_operator():
        return None
    return f"{settings.CONSOLE_URL}{reverse('first_operator', args=[_signer().sign(str(_superusers()))])}"


def opens(token: str) -> bool:
    """Is this one of our links, less than an hour old and unused? A stranger's guess costs no query.

    The signed value is the number of superusers when the link was made, so a used link stays used even after the
    operator it made has been deactivated.
    """
    try:
        then = int(_signer().unsign(token, max_age=LIFE))
    except (BadSignature, ValueError):
        return False
    return then == _superusers() and not _has_operator()


def _signer() -> TimestampSigner:
    return TimestampSigner(sep=".", salt="console.first_operator")


def _superusers() -> int:
    return User.objects.filter(is_superuser=True).count()


def _has_operator() -> bool:
    return User.objects.filter(is_superuser=True, is_active=True).exists()


class FirstOperatorForm(_UserCreationForm):
    """Django's form for a new user, with its password rules, plus an email address."""

    email = EmailField(
        label=gettext_lazy("Email address"),
        help_text=gettext_lazy("For messages about this service."),
        widget=EmailInput(attrs={"autocomplete": "email"}),
    )

    class Meta:
        model = User
        fields = ("username", "email")
        field_classes = {"username": UsernameField}


@never_cache
@require_safe
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Move the token from the URL to the session, so that no referrer, history or log line keeps it."""
    try:
        response = _take_token(request, token) if opens(token) else _gone(request)
    except DatabaseError:
        response = render(request, "console/first_operator_away.html", status=503)
        request.session.modified = False
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _take_token(request: HttpRequest, token: str) -> HttpResponse:
    request.session[_TOKEN] = token
    request.session.save()  # here, not after the view, where nothing would catch its error
    return redirect("first_operator_form")


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """Show the form; submitting it makes the operator and signs them in."""
    if not opens(request.session.get(_TOKEN, "")):
        return _gone(request)
    form = FirstOperatorForm(request.POST or None)
    if not form.is_valid():
        return render(request, "console/first_operator.html", {"form": form}, status=422 if form.errors else 200)
    try:
        _create(request, form.cleaned_data)
    except Refused:
        return _gone(request)
    return redirect("admin:index")


def _create(request: HttpRequest, cleaned: dict[str, Any]) -> None:
    username, password = cleaned["username"], cleaned["password1"]
    address = Actor.address_of(request)
    user = create_first_operator(username=username, email=cleaned["email"], password=password, address=address)
    del request.session[_TOKEN]
    let_in(request, user)


def _gone(request: HttpRequest) -> HttpResponse:
    """Never issued, expired or used: the page does not say which."""
    return render(request, "console/first_operator_gone.html", {"manage": settings.MANAGE}, status=404)
