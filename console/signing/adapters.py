"""allauth's hooks: our addresses, our names, our mails."""

from __future__ import annotations

import base64
import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, override

from accounts.languages import language_of
from accounts.models import User, caseless
from accounts.services.acts import Actor
from console.signing.backend import user_called
from runtime.env import host_of
from runtime.measures import MAILS

log = logging.getLogger(__name__)

NO_ADDRESS = "::"  # of a client that came by a UNIX socket
_TRIES = 100  # names that are tried for somebody whose name is taken


class MailNotSent(Exception):
    """The mail that this page promises could not be sent."""


class AccountAdapter(DefaultAccountAdapter):
    def get_client_ip(self, request: HttpRequest) -> str:
        return Actor.address_of(request) or NO_ADDRESS

    def is_ajax(self, request: HttpRequest) -> bool:
        """Pages only, but for the script that signs in by a passkey: answers in JSON would take a reset link's token
        another way."""
        return request.path == reverse("mfa_login_webauthn") and bool(super().is_ajax(request))

    def is_safe_url(self, url: str) -> bool:
        """Only this console's own pages, not every host in ALLOWED_HOSTS."""
        request = context.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGN_UP == "open")

    def get_login_stages(self) -> list[str]:
        ours = "console.signing.stages.ConfirmAddress"
        theirs = "allauth.account.stages.EmailVerificationStage"
        return [ours if stage == theirs else stage for stage in super().get_login_stages()]

    # Names

    def clean_username(self, username: str, shallow: bool = False) -> str:
        user = User(username=username)
        user.clean_fields(exclude=[field.name for field in User._meta.fields if field.name != "username"])
        if not shallow and User.objects.filter(folded_username=caseless(username)).exists():
            raise self.validation_error("username_taken")
        return username

    def populate_username(self, request: HttpRequest, user: Any) -> None:
        """The user name is the email address, or one that starts like it if it is taken or not a valid user name."""
        if not user.username:
            user.username = self._free_name(user.email)

    def _free_name(self, email: str) -> str:
        stem = "".join(c for c in email.partition("@")[0] if c.isalnum() or c in ".+-_")[:100] or "user"
        for name in (email, stem, *(f"{stem}{number}" for number in range(2, _TRIES))):
            try:
                return self.clean_username(name)
            except ValidationError:
                continue
        return str(self.generate_unique_username([stem]))

    # Mails and the links in them

    def get_reset_password_from_key_url(self, key: str) -> str:
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return str(settings.CONSOLE_URL) + path.replace("UID-KEY", key)

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        return str(settings.CONSOLE_URL) + reverse("account_confirm_email", args=[emailconfirmation.key])

    def format_email_subject(self, subject: str) -> str:
        return str(subject)

    def render_mail(
        self, template_prefix: str, email: Any, context: dict[str, Any], headers: dict[str, str] | None = None
    ) -> EmailMessage:
        """Its links start with CONSOLE_URL, whatever host the request named."""
        ours = {"console": settings.CONSOLE_URL, "host": host_of(settings.CONSOLE_URL)}
        message: EmailMessage = super().render_mail(template_prefix, email, {**context, **ours}, headers)
        return message

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """In the reader's language. Raises MailNotSent: a page that says "look into your mailbox" would be wrong."""
        reader = context.get("user") or user_called(email)  # who has the address, where somebody else typed it
        asked_in = get_language() or settings.LANGUAGE_CODE
        try:
            with override(language_of(reader, asked_in) if reader else asked_in):
                super().send_mail(template_prefix, email, context)
            MAILS.count_in_a_thread("sent")
        except Exception as error:  # whatever servers, TLS and addresses make smtplib raise
            MAILS.count_in_a_thread("failed")
            log.error("a mail (%s) could not be sent (%s)", template_prefix, type(error).__name__)
            raise MailNotSent from error


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps are encrypted in the database, with a key from SECRET_KEY."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """If SECRET_KEY has changed since, returns a secret that no code matches."""
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            log.error("a second factor cannot be read: it was set up with another SECRET_KEY")
            return base64.b32encode(Fernet.generate_key()[:20]).decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        host = host_of(settings.CONSOLE_URL)
        return {"id": host, "name": host}

    def _get_site_name(self) -> str:
        return host_of(settings.CONSOLE_URL)


def _cipher() -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=b"authsvc second factors").derive(settings.SECRET_KEY.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
