"""Records what allauth and Django signal in the audit log."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account_signals
from allauth.account.models import EmailAddress
from allauth.mfa import signals as factor_signals
from django.conf import settings
from django.contrib.auth import signals as django_signals
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.translation import get_language

from accounts.models import User
from accounts.notifications.places import note_sign_in
from accounts.services.acts import Actor
from accounts.services.people import note_language
from console.signing.backend import user_called
from console.signing.newcomers import give_account, place
from console.signing.record import write_down


@receiver(django_signals.user_login_failed)
def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    if request is not None:
        typed = str(credentials.get("username") or credentials.get("email") or "")
        write_down(request, user_called(typed), "user.sign_in_failed", how="password")


@receiver(account_signals.user_logged_in)
def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    methods = [str(one.get("method")) for one in request.session.get("account_authentication_methods", [])]
    write_down(request, user, "user.sign_in", how=list(dict.fromkeys(methods)))
    note_sign_in(user, Actor.address_of(request), request.headers.get("User-Agent", ""))


@receiver(django_signals.user_logged_in)
def _came_in(user: User, **_: Any) -> None:
    """Whichever door they came in by: allauth's signal tells only of its own."""
    note_language(user, get_language() or settings.LANGUAGE_CODE)


@receiver(django_signals.user_logged_out)
def _signed_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None and request is not None and request.META:
        write_down(request, user, "user.sign_out")


@receiver(account_signals.user_signed_up)
def _signed_up(request: HttpRequest, user: User, sociallogin: Any = None, **_: Any) -> None:
    write_down(request, user, "user.sign_up", how="identity provider" if sociallogin else "form")
    if sociallogin:
        place(request, user)


@receiver([account_signals.password_changed, account_signals.password_set])
def _changed(request: HttpRequest, user: User, **_: Any) -> None:
    write_down(request, user, "user.password_change")


@receiver(account_signals.password_reset)
def _reset(request: HttpRequest, user: User, **_: Any) -> None:
    """The link came by mail, so the address is theirs."""
    write_down(request, user, "user.password_reset")
    row = EmailAddress.objects.filter(user=user, email=user.email.lower(), verified=False).first()
    if row is not None and row.set_verified(commit=False):
        row.save()


@receiver(account_signals.email_confirmed)
def _confirmed(request: HttpRequest, email_address: EmailAddress, **_: Any) -> None:
    user = email_address.user
    write_down(request, user, "user.email_confirm", email=email_address.email)
    if settings.SIGN_UP == "open" and user.last_login is None:
        give_account(request, user)


@receiver(post_save, sender=User)
def _address_edited(instance: User, created: bool, update_fields: Any = None, **_: Any) -> None:
    """An operator corrected an address: the old one no longer signs anyone in or receives resets."""
    if not created and (update_fields is None or "email" in update_fields):
        EmailAddress.objects.filter(user=instance, verified=True).exclude(email=instance.email.lower()).delete()


@receiver(account_signals.email_changed)
def _moved(request: HttpRequest, user: User, from_email_address: Any, to_email_address: Any, **_: Any) -> None:
    if from_email_address is not None:
        write_down(request, user, "user.email_change", email=to_email_address.email)


@receiver(factor_signals.authenticator_added)
def _factor_added(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    write_down(request, user, "user.second_factor_add", kind=authenticator.type)


@receiver(factor_signals.authenticator_removed)
def _factor_removed(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    write_down(request, user, "user.second_factor_remove", kind=authenticator.type)


@receiver(factor_signals.authenticator_reset)
def _factor_reset(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    write_down(request, user, "user.second_factor_reset", kind=authenticator.type)


@receiver(factor_signals.authentication_failed)
def _factor_failed(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    write_down(request, user, "user.sign_in_failed", how=f"second factor: {authenticator.type}")
