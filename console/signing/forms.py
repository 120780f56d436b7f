"""allauth's forms, with the limits of limits.py in front of what they check."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account_forms
from allauth.core import context
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as factor_forms
from allauth.mfa.webauthn import forms as passkey_forms
from django.forms import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext

from accounts.models import User
from console.signing.limits import count_mail, count_password, count_second_factor, forgive_password, is_first_use
from console.signing.record import write_down


class SignInForm(account_forms.LoginForm):
    """Sent as `username` and `password`, which programs and password managers know."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["login"]
        name.label = gettext("User name or email address")
        name.widget.attrs = {"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
        self.fields["password"].help_text = ""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else field_name


class SignUpForm(account_forms.SignupForm):
    def try_save(self, request: HttpRequest) -> tuple[Any, HttpResponse | None]:
        count_mail(request, self.cleaned_data["email"])
        if self.account_already_exists:
            User().set_password(self.cleaned_data["password1"])  # or its speed would tell that the address is known
        return super().try_save(request)  # type: ignore[no-any-return]


class ChangePasswordForm(account_forms.ChangePasswordForm):
    def clean_oldpassword(self) -> str:
        """A session left open must not allow unlimited guesses."""
        user, request = self.user, context.request
        assert isinstance(user, User)
        count_password(request, user, user.username)
        try:
            old = super().clean_oldpassword()
        except ValidationError:
            write_down(request, user, "user.sign_in_failed", how="change of the password")
            raise
        forgive_password(request, user, user.username)
        return str(old)


class ResetPasswordForm(account_forms.ResetPasswordForm):
    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        count_mail(request, self.cleaned_data["email"])
        for user in self.users:
            write_down(request, user, "user.password_reset_asked")
        return str(super().save(request, **kwargs))


class _CountedCode:
    """allauth remembers used codes in one process's memory, and for a shorter time than they fit."""

    def clean_code(self) -> str:
        user: User = self.user  # type: ignore[attr-defined]
        count_second_factor(context.request, user)
        code = str(super().clean_code())  # type: ignore[misc]
        if not is_first_use(user, code):
            write_down(context.request, user, "user.sign_in_failed", how="second factor: a used code")
            raise get_adapter().validation_error("incorrect_code")
        return code


class SecondFactorForm(_CountedCode, factor_forms.AuthenticateForm):
    pass


class SecondFactorAgainForm(_CountedCode, factor_forms.ReauthenticateForm):
    pass


class AddPasskeyForm(passkey_forms.AddWebAuthnForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = gettext("Name")  # allauth's is not translated
