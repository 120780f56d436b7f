"""Answers for refused sign-ins, the idle limit, and the second factor that staff must have."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http import HTTPStatus

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext
from django.views.csrf import csrf_failure

from accounts.models import User
from console.signing.adapters import MailNotSent
from console.signing.hashing import TooManyHashes
from console.signing.limits import CannotCount, TooManyTries, count_guess

RETRY_SECONDS = 5
SEEN = "seen"  # in the session: when it was last used, give or take a minute
_NEEDS_NO_SECOND_FACTOR = ("/accounts/", "/login/", "/logout/", "/admin/logout/", "/errors/", "/first-operator/")
_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


class Door:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        asks = settings.SESSION_IDLE_SECONDS or settings.STAFF_SECOND_FACTOR  # else nobody need read the session
        if asks and SESSION_KEY in request.session:
            if settings.SESSION_IDLE_SECONDS:
                _end_if_idle(request)
            if settings.STAFF_SECOND_FACTOR and _lacks_second_factor(request):
                return _ask_for_second_factor(request)
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        match exception:
            case TooManyTries():
                return _page(request, "too_many", HTTPStatus.TOO_MANY_REQUESTS, exception.wait)
            case TooManyHashes() | CannotCount():
                return _page(request, "away", HTTPStatus.SERVICE_UNAVAILABLE, RETRY_SECONDS)
            case MailNotSent():
                return _page(request, "no_mail", HTTPStatus.SERVICE_UNAVAILABLE, None)
        return None


def without_token(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's `CSRF_FAILURE_VIEW`, which a client that guesses without a token gets to see: counted, too."""
    try:
        count_guess(request)
    except TooManyTries as refused:
        return _page(request, "too_many", HTTPStatus.TOO_MANY_REQUESTS, refused.wait)
    return csrf_failure(request, reason)


def _page(request: HttpRequest, name: str, status: int, wait: int | None) -> HttpResponse:
    minutes = -(-wait // 60) if wait else 0
    response = render(request, f"console/signing/{name}.html", {"wait": wait, "minutes": minutes}, status=status)
    if wait:
        response["Retry-After"] = str(wait)
    add_never_cache_headers(response)
    return response


def _end_if_idle(request: HttpRequest) -> None:
    now, idle = int(time.time()), int(settings.SESSION_IDLE_SECONDS)
    seen = request.session.get(SEEN)
    if isinstance(seen, int) and now - seen > idle:
        logout(request)
        messages.info(request, gettext("You were signed out because you were inactive for a while."))
    elif not isinstance(seen, int) or now - seen > min(60, idle // 10):  # not a write with each request
        request.session[SEEN] = now


def _lacks_second_factor(request: HttpRequest) -> bool:
    if request.path_info.startswith((*_NEEDS_NO_SECOND_FACTOR, settings.STATIC_URL)):
        return False
    user = request.user
    return isinstance(user, User) and (user.is_staff or user.is_superuser) and not is_mfa_enabled(user, _FACTORS)


def _ask_for_second_factor(request: HttpRequest) -> HttpResponse:
    words = gettext("Set up a second factor first. This service requires one for its staff.")
    if request.path_info.startswith("/api/"):
        problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": words}
        return HttpResponse(json.dumps(problem), "application/problem+json", HTTPStatus.FORBIDDEN)
    messages.warning(request, words)
    return redirect("mfa_index")
