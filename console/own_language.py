"""The language that a signed-in person chose: on all of their devices, and in the mails they get."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.models import User
from accounts.services.acts import Actor
from accounts.services.people import AUTOMATIC, choose_language
from store.throttles import CHOICES

_ASK_NOBODY = ("/api/", "/auth/", "/console/brand/")  # in English, or in no language, and some of it for shared caches


class OwnLanguage:
    """Goes on in the person's own language, which only the database knows: without it, in the browser's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if language := _chosen_by_the_person(request):
            translation.activate(language)  # until ReadersLanguage restores the one before
        return self._get_response(request)


def _chosen_by_the_person(request: HttpRequest) -> str:
    """One of settings.LANGUAGES, or nothing."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or request.path_info.startswith(_ASK_NOBODY):
        return ""
    try:
        language = request.user.language if isinstance(request.user, User) else ""
    except DatabaseError:  # a page that needs no database is shown anyway
        return ""
    return language if language in dict(settings.LANGUAGES) else ""


@never_cache
@require_safe
@login_required
def own_language(request: HttpRequest) -> HttpResponse:
    """The page on which people choose their language. Its form goes where the switch beside every page goes, too."""
    user = request.user
    assert isinstance(user, User)
    chosen = user.language if user.language in dict(settings.LANGUAGES) else AUTOMATIC
    return render(request, "console/signing/language.html", {"chosen": chosen})


def choose_own(request: HttpRequest, language: str) -> None:
    """Keep the choice of a person who is signed in; anything that is not offered is no choice."""
    user = request.user
    if not isinstance(user, User):
        return
    language = language if language in dict(settings.LANGUAGES) else AUTOMATIC
    if language != user.language and CHOICES.wait(str(user.pk)):
        messages.error(request, gettext("You changed your language too often. Try again in a few minutes."))
        return
    choose_language(user, language, actor=Actor.person(request))
