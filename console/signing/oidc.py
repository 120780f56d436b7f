"""Signing in by the operator's identity provider: OpenID Connect, code flow with PKCE and a nonce.

allauth trusts an ID token that came from the token endpoint itself. We check its signature all the same, and its nonce,
which allauth does not send: a code of somebody else's sign-in that is slipped into ours is worth nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any

import requests
from allauth.account.internal.decorators import login_not_required
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.translation import gettext

from console.signing.limits import tell_once

log = logging.getLogger(__name__)

ID = "sso"
_CONFIGURATION = "oidc_configuration"
ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}


def nonce_of(state: str) -> str:
    """Bound to the session's own state, so that it need not be kept."""
    return hmac.digest(settings.SECRET_KEY.encode(), f"oidc nonce {state}".encode(), hashlib.sha256).hex()


class Adapter(OpenIDConnectOAuth2Adapter):
    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return str(settings.CONSOLE_URL) + reverse("oidc_callback")

    @property
    def openid_config(self) -> dict[str, Any]:
        """Fetched once in five minutes, so that strangers can't make us flood the provider."""
        config: dict[str, Any] | None = cache.get(_CONFIGURATION)
        if config is None:
            config = self._ask_for_configuration()
            cache.set(_CONFIGURATION, config, 300)
        return config

    def _ask_for_configuration(self) -> dict[str, Any]:
        config: dict[str, Any] = super().openid_config
        if str(config.get("issuer", "")).rstrip("/") != settings.OIDC_ISSUER:
            raise OAuth2Error(f"the provider calls itself {config.get('issuer')!r}, not {settings.OIDC_ISSUER!r}")
        return config

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        if not kwargs["response"].get("id_token"):
            raise OAuth2Error("the provider sent no ID token")
        return super().complete_login(request, app, token, **kwargs)

    def _fetch_user_info(self, access_token: str) -> dict[str, Any]:
        info: dict[str, Any] = super()._fetch_user_info(access_token)
        self._subject = info.get("sub")
        return info

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        try:
            if jwtkit.jwt.get_unverified_header(id_token).get("alg") not in ALGORITHMS:
                raise OAuth2Error("the ID token is signed in no way that we take")
            claims: dict[str, Any] = jwtkit.verify_and_decode(
                credential=id_token,
                keys_url=self.openid_config["jwks_uri"],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                lookup_kid=jwtkit.lookup_kid_jwk,
                verify_signature=True,
            )
        except (KeyError, ValueError, jwtkit.jwt.PyJWTError) as error:
            raise OAuth2Error("the ID token cannot be read") from error
        if not hmac.compare_digest(str(claims.get("nonce", "")), nonce_of(str(self.request.GET.get("state", "")))):
            raise OAuth2Error("the ID token was made for another sign-in")
        if getattr(self, "_subject", claims.get("sub")) != claims.get("sub"):
            raise OAuth2Error("the ID token and the user info are about different people")
        return claims


class IdentityProvider(OpenIDConnectProvider):
    oauth2_adapter_class = Adapter
    pkce_enabled_default = True

    def get_login_url(self, request: HttpRequest, **kwargs: Any) -> str:
        return reverse("oidc_login")

    def get_callback_url(self) -> str:
        return reverse("oidc_callback")

    def get_oauth2_adapter(self, request: HttpRequest) -> Adapter:
        return Adapter(request, self.app.provider_id)

    def get_auth_params_from_request(self, request: HttpRequest, action: Any) -> dict[str, str]:
        """No token from a link is accepted."""
        return dict(self.get_auth_params())

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return list(self.get_scope())

    def redirect(
        self, request: HttpRequest, process: Any, next_url: str | None = None, data: Any = None, **kwargs: Any
    ) -> HttpResponse:
        state = get_random_string(32)
        params = {**(kwargs.pop("auth_params", None) or self.get_auth_params()), "nonce": nonce_of(state)}
        kwargs |= {"state_id": state, "auth_params": params}
        return super().redirect(request, "login", next_url, data, **kwargs)  # type: ignore[no-any-return]


class ProviderAdapter(DefaultSocialAccountAdapter):
    """Who may sign in through the identity provider."""

    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> Any:
        """From the settings only: no provider can be added in the database."""
        from allauth.socialaccount.adapter import _build_apps_from_settings

        built = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for apps in built.values() for app in apps]

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Checked every time: an address may have moved to a different domain."""
        addresses = [one.email.lower() for one in sociallogin.email_addresses if one.verified is True]
        domains = {email.rpartition("@")[2] for email in addresses}
        if not addresses:
            why = gettext("The identity provider has not confirmed your email address.")
        elif settings.OIDC_DOMAINS and not domains & set(settings.OIDC_DOMAINS):
            why = gettext("Email addresses of this domain may not sign in here.")
        else:
            return
        user = sociallogin.user if sociallogin.is_existing else None
        tell_once(request, user, "user.sign_in_failed", how="identity provider")
        raise ImmediateHttpResponse(_refused(request, why))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        log.warning(
            "a sign-in by the identity provider failed: %s %s", error, str(exception)[:300] if exception else ""
        )
        tell_once(request, None, "user.sign_in_failed", how="identity provider")
        raise ImmediateHttpResponse(_refused(request, gettext("The identity provider did not confirm who you are.")))


def _refused(request: HttpRequest, why: str) -> HttpResponse:
    return render(request, "console/signing/not_let_in.html", {"why": why}, status=403)


def _adapter(request: HttpRequest) -> Adapter:
    if not settings.OIDC_ISSUER:
        raise Http404
    return Adapter(request, ID)


@login_not_required
def start(request: HttpRequest) -> HttpResponse:
    """Redirect to the identity provider. By GET: a form would need its address in the Content-Security-Policy."""
    try:
        return OAuth2LoginView.adapter_view(_adapter(request))(request)  # type: ignore[no-any-return]
    except (requests.RequestException, OAuth2Error) as error:
        log.error("the identity provider cannot be reached: %s", str(error)[:300])
        return render(request, "console/signing/no_provider.html", status=503)


@login_not_required
def callback(request: HttpRequest) -> HttpResponse:
    """Handle the return from the identity provider."""
    return OAuth2CallbackView.adapter_view(_adapter(request))(request)  # type: ignore[no-any-return]
