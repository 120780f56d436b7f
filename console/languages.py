"""The language of a page: the one its reader chose, else what their browser asks for, else the operator's first.
People who are signed in choose for themselves, wherever they are (console/own_language.py); others for their browser.

It holds for pages and mails. The REST API, the gate and logs are always in English, since programs compare their words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from django.conf import settings
from django.conf.locale import LANG_INFO
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation.trans_real import parse_accept_lang_header

from runtime.env import BadSetting

WRITTEN_IN = "en"  # what our messages are written in: it needs no catalogue
LANGUAGE = "language"  # the cookie's name
_CATALOGUES = Path(__file__).parent / "locale"
_ALWAYS_ENGLISH = ("/api/", "/auth/")


def known() -> dict[str, str]:
    """Every language that the console speaks, by its code: {"en": "English", "fr": "Français"}."""
    folders = sorted(file.parts[-3] for file in _CATALOGUES.glob("*/LC_MESSAGES/django.mo"))
    codes = [WRITTEN_IN, *(translation.to_language(folder) for folder in folders)]
    return {code: _own_name(code) for code in codes}


def _own_name(code: str) -> str:
    name = str(LANG_INFO[code]["name_local"])
    return name[:1].upper() + name[1:]


def offered(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Those that the operator names, in that order. Raises BadSetting."""
    wanted, names = list(dict.fromkeys(codes)), known()
    if not wanted or not set(wanted) <= set(names):
        raise BadSetting(f"AUTHSVC_LANGUAGES={','.join(wanted)!r} must name some of: {', '.join(names)}.")
    return [(code, names[code]) for code in wanted]


def language_of(request: HttpRequest) -> str:
    """One of settings.LANGUAGES."""
    chosen = request.COOKIES.get(LANGUAGE)
    if chosen in dict(settings.LANGUAGES):
        return str(chosen)
    for asked, quality in parse_accept_lang_header(request.headers.get("Accept-Language", "")):
        if not quality:  # the browser refuses this one
            continue
        try:
            return translation.get_supported_language_variant(asked)
        except LookupError:
            continue
    return str(settings.LANGUAGES[0][0])


class ReadersLanguage:
    """Answers each request for a page in its reader's language."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(_ALWAYS_ENGLISH):
            return self._get_response(request)
        with translation.override(language_of(request)):
            response = self._get_response(request)
            language = translation.get_language()  # OwnLanguage may have changed it
        if response.get("Content-Type", "").startswith("text/html"):
            response.headers["Content-Language"] = language
            patch_vary_headers(response, ("Accept-Language", "Cookie"))
        return response
