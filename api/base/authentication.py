"""Authentication: a management key or an operator token (RFC 6750, 2.1), otherwise a session → `Caller`."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from accounts.authority import operator_scopes, with_implied
from accounts.models import ManagementKey, OperatorToken, User
from accounts.services.acts import Actor
from accounts.services.credentials import find_credential
from api.base.access import Caller
from store.throttles import GUESSES, network_of

REALM = 'Bearer realm="authsvc"'


class NotValid(AuthenticationFailed):
    """The credential is unknown, expired or revoked. A client is not told which."""

    default_detail = "This credential is not valid."
    challenge = f'{REALM}, error="invalid_token"'  # RFC 6750, 3.1


class Bearer(BaseAuthentication):
    """`Authorization: Bearer` with a management key or an operator token, never with a key for models."""

    def authenticate(self, request: Request) -> tuple[Program, Caller] | None:
        scheme, _, text = str(request.META.get("HTTP_AUTHORIZATION") or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        credential = find_credential(text.strip(" "), timezone.now())
        address = address_of(request)
        if credential is None:
            if wait := GUESSES.wait(network_of(address)):
                raise Throttled(wait)
            raise NotValid
        if isinstance(credential, ManagementKey):
            return Program(), _by_management_key(credential, address)
        return Program(), _by_operator_token(credential, address)

    def authenticate_header(self, request: Request) -> str:
        return REALM


class Session(SessionAuthentication):
    """Django's session, with its CSRF check."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user = found[0]
        assert isinstance(user, User)
        return user, Caller("session", str(user.pk), Actor.person(request._request), operator_scopes(user), user)


class Program:
    """Takes the place of DRF's user when a program asks."""

    is_authenticated = True
    is_anonymous = False
    pk = None


def address_of(request: Request) -> str:
    return str(request.META.get("REMOTE_ADDR") or "")[:45]


def _by_management_key(key: ManagementKey, address: str) -> Caller:
    actor = Actor(f"management key {key.public_id}", address, credential=key)
    return Caller("management_key", key.public_id, actor, with_implied(key.scopes), account_pk=key.account_id)


def _by_operator_token(token: OperatorToken, address: str) -> Caller:
    actor = Actor(f"operator token {token.public_id}", address, credential=token)
    return Caller("operator_token", token.public_id, actor, with_implied(token.scopes))
