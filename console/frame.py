"""The frame around every page: who sees it, what the sidebar has, and the answers for what cannot be shown."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import wraps
from hashlib import sha256
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.authority import Action
from accounts.models import Account, User
from console.colours import DARK_PAGE, LIGHT_PAGE, accent_on
from console.languages import LANGUAGE
from console.own_language import choose_own
from console.seat import LAST_ACCOUNT, Seat, memberships_of, take_seat
from store.throttles import DAYS_ISSUES, ISSUES, WRITES, Throttle

THEMES = ("light", "dark")
_THEME = "theme"  # the cookie's name
_YEAR = 365 * 86_400


class Place(NamedTuple):
    """An entry of the sidebar."""

    name: str
    title: str | Promise
    icon: str
    needs: Action


PLACES = (
    Place("overview", gettext_lazy("Overview"), "home", Action.READ_ACCOUNT),
    Place("keys", gettext_lazy("Keys"), "key", Action.READ_KEYS),
    Place("try", gettext_lazy("Try it"), "play", Action.READ_CATALOGUE),
    Place("usage", gettext_lazy("Usage"), "chart", Action.READ_USAGE),
    Place("models", gettext_lazy("Models"), "cube", Action.READ_CATALOGUE),
    Place("team", gettext_lazy("Team"), "people", Action.READ_MEMBERS),
    Place("account", gettext_lazy("Account"), "building", Action.READ_ACCOUNT),
    Place("audit", gettext_lazy("Audit log"), "list", Action.READ_AUDIT),
)


class TooMany(Exception):
    """The account made too many changes; `wait` is in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(wait)
        self.wait = wait


View = Callable[..., HttpResponseBase]


def page(needs: Action) -> Callable[[View], View]:
    """A page of an account, for its people whose role allows `needs`. No cache keeps it."""

    def decorate(view: View) -> View:
        @login_required
        @never_cache
        @wraps(view)
        def answer(request: HttpRequest, account: str, **parts: Any) -> HttpResponseBase:
            seat = take_seat(request, account)
            if not seat.may(needs):
                return forbidden(request, seat)
            try:
                return view(request, seat, **parts)
            except TooMany as error:
                response = show(request, seat, "too_many", {"wait": error.wait}, status=429)
                response["Retry-After"] = str(error.wait)
                return response

        return answer

    return decorate


def show(
    request: HttpRequest, seat: Seat, template: str, context: Mapping[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """A page in the frame. `template` begins with the place it belongs to: `keys/list` is in `keys`."""
    place = template.partition("/")[0]
    return render(request, f"console/{template}.html", {**framed(seat, place), **(context or {})}, status=status)


def framed(seat: Seat, place: str) -> dict[str, Any]:
    """What the frame itself needs to know."""
    return {"seat": seat, "place": place, "places": [one for one in PLACES if seat.may(one.needs)]}


def forbidden(request: HttpRequest, seat: Seat) -> HttpResponse:
    """For what the person sees and may not touch."""
    return show(request, seat, "forbidden", status=403)


def count_write(account: Account) -> None:
    """Count a change of the account, with those that come through the API. Raises TooMany."""
    _take_from(WRITES, account)


def count_new_secret(account: Account) -> None:
    """Count a new key or a rotation, with those that come through the API. Raises TooMany."""
    _take_from(ISSUES, account)
    _take_from(DAYS_ISSUES, account)


def _take_from(throttle: Throttle, account: Account) -> None:
    if wait := throttle.wait(account.public_id):
        raise TooMany(wait)


@login_required
@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the account the person was in last. Without any, operators get the admin, others a page on what to do."""
    assert isinstance(request.user, User)
    memberships = memberships_of(request.user)
    if not memberships and request.user.is_staff:
        return redirect("admin:index")
    if not memberships:
        return render(request, "console/door/no_account.html")
    ids = [one.account.public_id for one in memberships]
    last = request.session.get(LAST_ACCOUNT)
    return redirect("console_overview", account=last if last in ids else ids[0])


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Remember a choice of light or dark; anything else follows the system again."""
    return remember(request, _THEME, THEMES)


@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Remember a choice of language, for the browser and for who is signed in; anything else follows the browser."""
    choose_own(request, request.POST.get(LANGUAGE, ""))
    return remember(request, LANGUAGE, dict(settings.LANGUAGES))


def remember(request: HttpRequest, cookie: str, choices: Container[str]) -> HttpResponse:
    """Keep what a form chose in a cookie, and go back to where the form was. Any other value removes the cookie."""
    chosen = request.POST.get(cookie, "")
    back = request.POST.get("back", "")
    is_safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
    response = redirect(back if is_safe else reverse("console"))
    if chosen in choices:
        response.set_cookie(
            cookie, chosen, max_age=_YEAR, httponly=True, samesite="Lax", secure=bool(settings.SESSION_COOKIE_SECURE)
        )
    else:
        response.delete_cookie(cookie)
    return response


def brand(request: HttpRequest) -> dict[str, Any]:
    """For every template: the operator's name, logo, colour, support address and languages, and the reader's theme."""
    theme = request.COOKIES.get(_THEME)
    return {
        "brand_name": settings.BRAND_NAME,
        "brand_logo": settings.BRAND_LOGO is not None,
        "brand_version": _brand_version(),
        "support": settings.SUPPORT,
        "languages": settings.LANGUAGES,
        "theme": theme if theme in THEMES else "",
    }


def _brand_version() -> str:
    """Part of the brand's addresses, so that browsers may keep what is there until an operator changes it."""
    logo = settings.BRAND_LOGO.content if settings.BRAND_LOGO else b""
    return sha256(settings.BRAND_COLOUR.encode() + logo).hexdigest()[:8]


@require_safe
@cache_control(public=True, max_age=_YEAR, immutable=True)
def brand_css(request: HttpRequest, version: str) -> HttpResponse:
    """The operator's colour in a shade that is readable in each scheme: the policy allows no inline style."""
    light, dark = accent_on(LIGHT_PAGE, settings.BRAND_COLOUR), accent_on(DARK_PAGE, settings.BRAND_COLOUR)
    css = (
        f":root{{--accent:light-dark({light.colour},{dark.colour});--on-accent:light-dark({light.text},{dark.text})}}\n"
    )
    return HttpResponse(css, content_type="text/css; charset=utf-8")


@require_safe
@cache_control(public=True, max_age=_YEAR, immutable=True)
def brand_logo(request: HttpRequest, version: str) -> HttpResponse:
    if settings.BRAND_LOGO is None:
        raise Http404
    response = HttpResponse(settings.BRAND_LOGO.content, content_type=settings.BRAND_LOGO.content_type)
    response["X-Content-Type-Options"] = "nosniff"
    return response
