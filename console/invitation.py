"""The page an invitation links to: sign in or create a user, then join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.models import Invitation, User
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.invitations import accept, behind
from console.signing.newcomers import keep_address, let_in

if TYPE_CHECKING:  # generic only in the stubs
    _CreationForm = BaseUserCreationForm[User]
else:
    _CreationForm = BaseUserCreationForm


class NewUser(_CreationForm):
    class Meta:
        model = User
        fields = ("username",)


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show the invitation. Joining takes a POST, so a mail scanner that opens links accepts nothing."""
    found = behind(token)
    if found is None:
        return _page(request, "invitation_gone", status=410)
    try:
        if request.method == "POST":
            if request.user.is_authenticated:
                return _join(request, found)
            if settings.SIGN_UP == "off":
                return redirect_to_login(request.get_full_path())
            form = NewUser(request.POST)
            if form.is_valid():
                return _make_user_and_join(request, found, form)
        else:
            form = NewUser(initial={"username": found.email})
    except Refused:  # the same link was used concurrently
        return _page(request, "invitation_gone", status=410)
    context = {"invitation": found, "form": form, "sign_in": request.get_full_path()}
    context["may_be_new"] = settings.SIGN_UP != "off"
    return _page(request, "invitation", context)


def _join(request: HttpRequest, found: Invitation) -> HttpResponse:
    actor = Actor.person(request)
    assert actor.user is not None
    accept(found, actor.user, actor=actor)
    return _page(request, "invitation_accepted", {"invitation": found})


def _make_user_and_join(request: HttpRequest, found: Invitation, form: NewUser) -> HttpResponse:
    """Having the link shows that they received the mail, so the address is theirs."""
    with transaction.atomic():
        user: User = form.save(commit=False)
        user.email = found.email
        user.save()
        keep_address(user, found.email)
        accept(found, user, actor=Actor(user.get_username(), str(request.META.get("REMOTE_ADDR") or "")[:45], user))
    let_in(request, user)
    return _page(request, "invitation_accepted", {"invitation": found})


def _page(request: HttpRequest, name: str, context: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
    """The link is a secret, so no Referer may carry it. Not `no-referrer`: a browser would then submit the form with
    `Origin: null`, which Django refuses.
    """
    response = render(request, f"console/{name}.html", context, status=status)
    response["Referrer-Policy"] = "strict-origin"
    return response
