"""Limits on sign-in attempts, counted in Redis before any password is hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts.models import User, caseless
from accounts.services.acts import Actor
from console.signing import record
from store.throttles import (
    CODES_USED,
    FORMS_FROM,
    GUESSES,
    REFUSALS_TOLD,
    RESETS_TO,
    SECOND_FACTORS_OF,
    SIGN_INS_FROM,
    SIGN_INS_OF,
    Throttle,
    ThrottleUnavailable,
    mailbox,
    network_of,
)


class TooManyTries(Exception):
    """Too many attempts; `wait` is in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"wait {wait} s")
        self.wait = wait


class CannotCount(Exception):
    """Redis is away, so attempts cannot be counted and are refused."""


def count_password(request: HttpRequest, user: User | None, typed: str) -> None:
    """Count a password that is about to be checked, for the network and for the user, known or not. Raises
    TooManyTries."""
    _take_both(request, user, SIGN_INS_OF, _key_of(user, typed))


def forgive_password(request: HttpRequest, user: User, typed: str) -> None:
    """The password was right. Only its own two tries are given back, so that somebody who signs in between guesses
    gains nothing."""
    SIGN_INS_FROM.give_back(_network(request))
    SIGN_INS_OF.give_back(_key_of(user, typed))


def count_second_factor(request: HttpRequest, user: User) -> None:
    """Count a code that is about to be checked. Raises TooManyTries."""
    _take_both(request, user, SECOND_FACTORS_OF, str(user.pk))


def is_first_use(user: User, code: str) -> bool:
    """Whether this user presents this code for the first time. Asking marks it as used."""
    return _wait(CODES_USED, f"{user.pk}:{hashlib.sha256(code.encode()).hexdigest()[:32]}") == 0


def count_mail(request: HttpRequest, email: str) -> None:
    """Count a mail that an anonymous visitor asks for. Raises TooManyTries."""
    _take(request, None, FORMS_FROM, _network(request))
    _take(request, None, RESETS_TO, mailbox(email))


def tell_once(request: HttpRequest, user: User | None, act: str, **after: Any) -> None:
    """Record what nothing else bounds, once a minute for each network, so that a flood cannot fill the table."""
    if not REFUSALS_TOLD.wait(f"{act}:{_network(request)}"):
        record.write_down(request, user, act, **after)
    else:
        record.count(act, **after)


def count_form(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For views that hash a password when their form is sent: count each sending, by network."""

    @wraps(view)
    def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST":
            _take(request, None, SIGN_INS_FROM, _network(request))
        return view(request, *args, **kwargs)

    return counted


def count_wrong_links(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For pages behind a secret link: count, by network, each link that opens nothing. Links that work are free."""

    @wraps(view)
    def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        if _opened_nothing(response):
            count_guess(request)
        return response

    return counted


def _opened_nothing(response: HttpResponse) -> bool:
    """Our own pages tell by their status, allauth's only by their context."""
    context = getattr(response, "context_data", None) or {}
    is_wrong = context.get("token_fail") or context.get("confirmation", response) is None
    return bool(is_wrong) or response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


def count_guess(request: HttpRequest) -> None:
    """Count what is too long to be guessed, so that trying costs us little. Raises TooManyTries."""
    _take(request, None, GUESSES, _network(request))


def _take_both(request: HttpRequest, user: User | None, throttle: Throttle, who: str) -> None:
    """The network first: one that may try no more locks nobody else out. What is refused for the user costs the
    network nothing."""
    _take(request, user, SIGN_INS_FROM, _network(request))
    try:
        _take(request, user, throttle, who)
    except TooManyTries:
        SIGN_INS_FROM.give_back(_network(request))
        raise


def _take(request: HttpRequest, user: User | None, throttle: Throttle, who: str) -> None:
    wait = _wait(throttle, who)
    if not wait:
        return
    if not REFUSALS_TOLD.wait(f"{throttle.name}:{who}"):  # a flood fills no table
        record.throttled(request, user, throttle.name)
    else:
        record.count("user.throttled")
    raise TooManyTries(wait)


def _wait(throttle: Throttle, who: str) -> int:
    try:
        return throttle.wait(who)
    except ThrottleUnavailable as error:
        raise CannotCount from error


def _network(request: HttpRequest) -> str:
    return network_of(Actor.address_of(request))


def _key_of(user: User | None, typed: str) -> str:
    """One key for every way to name a user. The text may be a mistyped password, so Redis gets only its digest."""
    if user is not None:
        return str(user.pk)
    return hashlib.sha256(caseless(typed.strip()).encode("utf-8", "replace")).hexdigest()[:32]
