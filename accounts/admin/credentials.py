"""Admin pages for creating and revoking management keys and operator tokens. Their text is shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from accounts.admin.acts import ReadOnlyAdmin
from accounts.admin.columns import STATES, account_link, moment, named, state_badge, state_of_credential
from accounts.authority import (
    NOBODY,
    Action,
    Authority,
    Beyond,
    check_scopes,
    operator_scopes,
    scopes_to_give,
)
from accounts.models import Account, Credential, ManagementKey, OperatorToken, User
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.credentials import (
    MANAGEMENT_SCOPES,
    OPERATOR_SCOPES,
    make_management_key,
    make_operator_token,
    revoke_credential,
)

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

TIMES = ("created_at", "expires_at", "revoked_at", "last_used_at")
MAKER = ("created_by", "made_with")
SHOWN = ("name", "public_id", "start", "scopes", *MAKER, *TIMES)


class TokenForm(forms.Form):
    """The form for a new credential."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        widget=forms.CheckboxSelectMultiple,
        choices=[(scope, scope) for scope in OPERATOR_SCOPES],
    )
    expires_at = forms.DateTimeField(
        label=gettext_lazy("Expires"),
        required=False,
        help_text=gettext_lazy("UTC, such as 2030-01-31 12:00. Empty: never."),
    )

    def clean_expires_at(self) -> Any:
        moment = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise ValidationError(gettext("This time has passed."))
        return moment


class ManagementKeyForm(TokenForm):
    account = forms.ModelChoiceField(label=gettext_lazy("Account"), queryset=Account.objects.filter(closed_at=None))
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        widget=forms.CheckboxSelectMultiple,
        choices=[(scope, scope) for scope in MANAGEMENT_SCOPES],
    )
    field_order = ("account", "name", "scopes", "expires_at")


class CredentialStateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(state, STATES[state].words) for state in ("active", "expired", "revoked")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        narrow = {"active": queryset.active, "expired": queryset.expired, "revoked": queryset.revoked}
        chosen = narrow.get(self.value() or "")
        return chosen() if chosen is not None else queryset


class CredentialAdmin(ReadOnlyAdmin):
    """Read-only pages, plus a page to create a credential and a button to revoke one."""

    form_for_new: type[TokenForm] = TokenForm
    title_of_new: str | StrPromise
    is_now_shown: str | StrPromise
    change_form_template = "admin/accounts/credential.html"
    list_display: Any = ("name_of_it", "state_of_it", "scopes_of_it", "last_used", "expires", "created_by", "created")
    name_of_it = named(gettext_lazy("name"))
    last_used = moment("last_used_at", gettext_lazy("last used"), may_be_never=True)
    expires, created = (
        moment("expires_at", gettext_lazy("expires"), may_be_never=True),
        moment("created_at", gettext_lazy("created")),
    )
    list_select_related: ClassVar[Any] = ("created_by",)
    list_filter: ClassVar[Any] = (CredentialStateFilter,)
    search_fields: ClassVar[Any] = ("^public_id", "name")
    fields: ClassVar[Any] = SHOWN

    @admin.display(description=gettext_lazy("state"))
    def state_of_it(self, row: Credential) -> str:
        return state_badge(state_of_credential(row, timezone.now()))

    @admin.display(description=gettext_lazy("scopes"))
    def scopes_of_it(self, row: Credential) -> str:
        return ", ".join(row.scopes)

    def make(self, cleaned: dict[str, Any], actor: Actor) -> tuple[Credential, str]:
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))

    def may_revoke(self, request: HttpRequest, row: Any) -> bool:
        return self.has_add_permission(request)

    def new_form(self, request: HttpRequest) -> TokenForm:
        return self.form_for_new(request.POST if request.method == "POST" else None)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_revoke"
        return [
            path("<path:object_id>/revoke/", self.admin_site.admin_view(self.revoke), name=name),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = self.new_form(request)
        if request.method == "POST" and form.is_valid():
            try:
                row, text = self.make(form.cleaned_data, Actor.person(request))
            except (Refused, ValidationError) as error:
                form.add_error(None, error.messages if isinstance(error, ValidationError) else str(error))
            else:
                return self._show_once(request, row, text)
        context = {
            **self.admin_site.each_context(request),
            "title": self.title_of_new,
            "form": form,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/accounts/make_credential.html", context)

    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke the credential: its next request is refused."""
        row = self.get_object(request, object_id)
        if not self.has_add_permission(request) or request.method != "POST":
            raise PermissionDenied
        if row is None:
            raise Http404
        if not self.may_revoke(request, row):
            raise PermissionDenied
        revoke_credential(row, actor=Actor.person(request))
        messages.success(request, gettext("Done: %(credential)s is revoked.") % {"credential": row})
        if living := [str(key) for key in ManagementKey.objects.filter(made_with=row.public_id, revoked_at=None)[:100]]:
            words = gettext("Management keys that were created with it keep working: %(keys)s.")
            messages.warning(request, words % {"keys": ", ".join(living)})
        opts = self.opts
        return HttpResponseRedirect(
            reverse(f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_change", args=(row.pk,))
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        may_revoke = (
            row is not None
            and row.revoked_at is None
            and self.has_add_permission(request)
            and self.may_revoke(request, row)
        )
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "may_revoke": may_revoke})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # Filtering by a digest in the URL would reveal it character by character.
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    def _show_once(self, request: HttpRequest, row: Credential, text: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Copy this now"),
            "words": str(self.is_now_shown) % {"name": row.name},
            "row": row,
            "text": text,
            "opts": self.opts,
        }
        response = TemplateResponse(request, "admin/accounts/credential_secret.html", context)
        response["Cache-Control"] = "no-store"
        response["Referrer-Policy"] = "strict-origin"  # `no-referrer` would break its form to sign out
        return response


@admin.register(OperatorToken)
class OperatorTokenAdmin(CredentialAdmin):
    """Only superusers can create one, because it can do more than most of the staff."""

    title_of_new = gettext_lazy("Create an operator token")
    is_now_shown = gettext_lazy("This is the operator token %(name)s. It is shown only once, so copy it now.")

    def make(self, cleaned: dict[str, Any], actor: Actor) -> tuple[Credential, str]:
        return make_operator_token(**cleaned, actor=actor)


@admin.register(ManagementKey)
class ManagementKeyAdmin(CredentialAdmin):
    form_for_new = ManagementKeyForm
    title_of_new = gettext_lazy("Create a management key")
    is_now_shown = gettext_lazy("This is the management key %(name)s. It is shown only once, so copy it now.")
    list_display = (
        "name_of_it",
        "state_of_it",
        "account_of_it",
        "scopes_of_it",
        "last_used",
        "expires",
        "created_by",
        "created",
    )
    list_select_related = ("account", "created_by")
    search_fields = ("^public_id", "name", "account__name", "^account__public_id")
    fields = ("account", *SHOWN)

    @admin.display(description=gettext_lazy("account"), ordering="account__name")
    def account_of_it(self, row: ManagementKey) -> str:
        return account_link(row.account, row.account.public_id)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._authority(request).may(Action.WRITE_MANAGEMENT_KEYS)

    def may_revoke(self, request: HttpRequest, row: Any) -> bool:
        try:
            check_scopes(Actor.person(request), row.account, row.scopes, verb="revoke")
        except Beyond:
            return False
        return True

    def new_form(self, request: HttpRequest) -> TokenForm:
        """Offers only the scopes that this person may give."""
        form = super().new_form(request)
        scopes = form.fields["scopes"]
        assert isinstance(scopes, forms.MultipleChoiceField)
        scopes.choices = [(scope, scope) for scope in scopes_to_give(self._authority(request))]
        return form

    def _authority(self, request: HttpRequest) -> Authority:
        """The person's rights on the operator's staff: roles in accounts don't count in the admin."""
        user = request.user
        return Authority("person", operator_scopes(user) if isinstance(user, User) and user.is_active else NOBODY)

    def make(self, cleaned: dict[str, Any], actor: Actor) -> tuple[Credential, str]:
        account = cleaned.pop("account")
        return make_management_key(account, **cleaned, actor=actor)
