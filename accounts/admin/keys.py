"""Admin pages for issuing, changing, rotating and revoking keys. Secrets are shown once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import F, Max, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts import keys
from accounts.admin.acts import (
    Act,
    ActsAdmin,
    AnyInline,
    FollowsParent,
    ReadOnlyAdmin,
    become,
    outcome_of,
    plainly,
    say,
)
from accounts.admin.choosing import RowSelect, as_primary_key
from accounts.admin.columns import account_link, moment, named, toned
from accounts.admin.key_filters import KeyStateFilter, PepperFilter
from accounts.admin.paging import LargeTableAdmin
from accounts.models import (
    Account,
    ApiKey,
    KeyLimit,
    KeySecret,
)
from accounts.services.acts import Actor
from accounts.services.keys import (
    LONGEST_GRACE,
    METHODS,
    Issued,
    change_key,
    check_key,
    end_rotation,
    issue_key,
    pause_key,
    resume_key,
    revoke_key,
    rotate_key,
)
from accounts.services.limits import costs_of
from console.keys.state import state_of
from console.templatetags.console import near
from quotas.catalogue.forms import LimitForm, LimitFormSet, RowForm, TextLines
from quotas.models import ServedModel

MOST_MODELS = 2  # of a key, named in the list


class KeyFields(RowForm):
    """The attributes of a key that can be changed."""

    models = forms.MultipleChoiceField(
        label=gettext_lazy("Models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None selected: every model of the account's plan."),
    )
    networks = TextLines(
        label=gettext_lazy("Networks"),
        required=False,
        help_text=gettext_lazy("Client addresses or networks in CIDR notation, one per line. Empty: any."),
    )
    methods = forms.MultipleChoiceField(
        label=gettext_lazy("Methods"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[(method, method) for method in METHODS],
        help_text=gettext_lazy("None selected: any."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        models = self.fields.get("models")
        if isinstance(models, forms.MultipleChoiceField):
            models.choices = [(slug, slug) for slug in ServedModel.objects.values_list("slug", flat=True)]
            self.initial.setdefault("models", self.instance.narrowed_to)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        # Unchanged values are not validated again: rules may have become stricter since they were set.
        checked = {"networks", "methods", "models"} & set(self.changed_data)
        check_key(**{name: value for name, value in wishes(cleaned).items() if name in checked})
        return cleaned


class IssueForm(KeyFields):
    """A new key. `once` contains the end of its id, so that submitting the form twice issues one key."""

    for_account = forms.ModelChoiceField(Account.objects.all(), label=gettext_lazy("Account"))
    once = forms.CharField(label="", widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["once"] = signing.dumps(keys.new_key_id(""), salt=_ONCE)

    def clean_once(self) -> str:
        try:
            return str(signing.loads(self.cleaned_data["once"], salt=_ONCE, max_age=timedelta(days=1)))
        except signing.BadSignature as error:
            raise ValidationError(_("This form has expired. Open it again.")) from error

    def clean_expires_at(self) -> Any:
        moment = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise ValidationError(_("This time has passed."))
        return moment


_ONCE = "accounts.admin.pages.IssueForm"


def wishes(cleaned: dict[str, Any]) -> dict[str, Any]:
    """The form's values as arguments for the services."""
    names = ("name", "models", "networks", "methods", "expires_at", "metadata")
    empty: dict[str, Any] = {"models": None, "metadata": {}}
    return {name: cleaned[name] or empty.get(name, cleaned[name]) for name in names if name in cleaned}


class RotateForm(forms.Form):
    grace = forms.IntegerField(
        label=gettext_lazy("Hours for which the old secret keeps working"),
        initial=24,
        min_value=0,
        max_value=int(LONGEST_GRACE.total_seconds()) // 3600,
        help_text=gettext_lazy("0 to 168 (seven days)."),
    )
    version = forms.IntegerField(widget=forms.HiddenInput)


def _rotate(key: ApiKey, cleaned: dict[str, Any], actor: Actor) -> Issued:
    return rotate_key(key, grace=timedelta(hours=cleaned["grace"]), version=cleaned["version"], actor=actor)


def _is_rotating(key: ApiKey) -> bool:
    return key.revoked_at is None and key.secrets.filter(expires_at__gt=timezone.now()).exists()


class KeyLimitInline(FollowsParent):
    model = KeyLimit
    form = LimitForm
    formset = LimitFormSet
    fields = ("name", "model", "amount", "window", "unit", "burst")
    verbose_name_plural = gettext_lazy("limits in addition to those of the plan")


class SecretInline(AnyInline):
    model = KeySecret
    fields = readonly_fields = ("start", "pepper", "created_at", "expires_at", "last_used_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # anyone who may see the key may see how its secrets start


@admin.register(ApiKey)
class ApiKeyAdmin(ActsAdmin, LargeTableAdmin):
    form = KeyFields
    list_display = ("name_of_it", "state_of_it", "account_of_it", "models", "last_used", "expires", "created")
    name_of_it = named(gettext_lazy("name"))
    expires, created = (
        moment("expires_at", gettext_lazy("expires"), may_be_never=True),
        moment("created_at", gettext_lazy("created")),
    )
    list_filter = (KeyStateFilter, "account__plan")
    list_select_related = ("account__plan",)
    search_fields = ("^public_id", "name", "account__name", "^account__public_id", "^account__external_id")
    search_help_text = gettext_lazy("A name, the beginning of a key or its id, or an account.")
    actions = ("revoke_selected",)
    acts = (
        Act(
            name="rotate",
            title=gettext_lazy("Rotate"),
            form=RotateForm,
            run=_rotate,
            warning=gettext_lazy(
                "The key gets a new secret, which is shown once. The old secret works until the grace period ends."
            ),
            is_offered=lambda key: key.revoked_at is None,
        ),
        Act(
            name="end-rotation",
            title=gettext_lazy("End rotation"),
            run=plainly(end_rotation),
            is_offered=_is_rotating,
            warning=gettext_lazy(
                "Old secrets, which work only for a grace period, are refused from the next request on."
            ),
        ),
        Act(
            name="pause",
            title=gettext_lazy("Pause"),
            run=plainly(pause_key),
            is_offered=lambda key: key.is_living and key.paused_at is None,
            warning=gettext_lazy(
                "The key is refused from its next request on, until it is resumed. It keeps everything else."
            ),
        ),
        Act(
            name="resume",
            title=gettext_lazy("Resume"),
            run=plainly(resume_key),
            is_offered=lambda key: key.revoked_at is None and key.paused_at is not None,
            warning=gettext_lazy("The key works again from its next request on."),
        ),
        Act(
            name="revoke",
            title=gettext_lazy("Revoke"),
            run=plainly(revoke_key),
            is_offered=lambda key: key.revoked_at is None,
            warning=gettext_lazy("The key is refused from its next request on. This cannot be undone."),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # A subquery: grouping would have to look at every key before it can show a page of them.
        of_key = KeySecret.objects.filter(key=OuterRef("pk")).order_by().values("key")
        latest = Subquery(of_key.annotate(at=Max("last_used_at")).values("at"))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(latest_use=latest).prefetch_related("secrets")
        return rows

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "account__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        words = [_public_id_in(word) for word in search_term.split()]
        return super().get_search_results(request, queryset, " ".join(words))

    @admin.display(description=gettext_lazy("state"))
    def state_of_it(self, key: ApiKey) -> str:
        return toned(*state_of(key, timezone.now()))

    @admin.display(description=gettext_lazy("account"), ordering="account__name")
    def account_of_it(self, key: ApiKey) -> str:
        return account_link(key.account, key.account.plan.title or key.account.plan.name)

    @admin.display(description=gettext_lazy("models"))
    def models(self, key: ApiKey) -> str:
        if key.narrowed_to is None:
            return _("the plan’s")
        shown, more = key.narrowed_to[:MOST_MODELS], len(key.narrowed_to) - MOST_MODELS
        return ", ".join(shown) + (f" +{more}" if more > 0 else "")

    @admin.display(description=gettext_lazy("last used"), ordering=F("latest_use").desc(nulls_last=True))
    def last_used(self, key: Any) -> str:
        return near(key.latest_use)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        form = super().get_form(request, obj, change, form=IssueForm, **kwargs)
        widget = RowSelect(ApiKey._meta.get_field("account"), self.admin_site)
        form.base_fields["for_account"].widget = widget
        return form

    identity = ("account", "public_id", "state_of_it")
    history = ("paused_at", "revoked_at", "created_by", "made_with", "created_at", "last_used", "version")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        editable = ("name", "models", "networks", "methods", "expires_at", "metadata")
        return ("for_account", *editable, "once") if obj is None else (*self.identity, *editable, *self.history)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else (*self.identity, *self.history)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return (KeyLimitInline, SecretInline) if obj is not None else (KeyLimitInline,)

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        if request.method == "POST" and inline.model is KeyLimit:
            pk = obj.account_id if obj.pk else as_primary_key(request.POST.get("for_account", ""))
            account = None if pk is None else Account.objects.select_related("plan").filter(pk=pk).first()
            kwargs["costs"] = costs_of(account.plan, request.POST.getlist("models") or None) if account else {}
        return kwargs

    def apply(self, request: HttpRequest, form: Any, formsets: Sequence[Any], *, change: bool) -> None:
        actor, outcome, cleaned = Actor.person(request), outcome_of(request), form.cleaned_data
        limits = next((formset for formset in formsets if isinstance(formset, LimitFormSet)), None)
        if not change:
            outcome.issued = issue_key(
                cleaned["for_account"],
                **wishes(cleaned),
                key_id=cleaned["once"],
                actor=actor,
                limits=limits.values() if limits else (),
            )
            become(form.instance, outcome.issued.key)
            return
        wanted = {name: value for name, value in wishes(cleaned).items() if name in form.changed_data}
        if limits is not None and limits.has_changed():
            wanted["limits"] = limits.values()
        if wanted:
            outcome.note(change_key(form.instance, actor=actor, **wanted))

    @admin.action(description=gettext_lazy("Revoke selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Ask for confirmation, then revoke each key on its own: if one fails, the others are still revoked."""
        queryset = queryset.select_related("account")
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": _("Revoke keys"),
                "opts": self.opts,
                "count": queryset.count(),
                "shown": queryset[:100],
                "selected": request.POST.getlist("_selected_action"),
                "select_across": request.POST.get("select_across", "0"),
            }
            return TemplateResponse(request, "admin/accounts/revoke_selected.html", context)
        actor = Actor.person(request)
        publications = [revoke_key(key, actor=actor) for key in queryset.select_related("account__plan")]
        is_pending = any(publication.is_pending for publication in publications)
        words = ngettext("%(count)d key revoked.", "%(count)d keys revoked.", len(publications))
        say(request, words % {"count": len(publications)}, is_pending=is_pending)
        return None


def _public_id_in(word: str) -> str:
    """The public id, if somebody searches for a key string: secrets are not searched for."""
    prefix = f"{settings.KEY_PREFIX}_"
    return word[len(prefix) : len(prefix) + keys.ID_LENGTH] if word.startswith(prefix) else word


@admin.register(KeySecret)
class KeySecretAdmin(ReadOnlyAdmin, LargeTableAdmin):
    fields = ("key", "start", "pepper", "minted_pepper", "created_at", "expires_at", "last_used_at")
    list_display = ("start", "key", "pepper", "last_used", "expires", "created")
    last_used = moment("last_used_at", gettext_lazy("last used"), may_be_never=True)
    expires, created = (
        moment("expires_at", gettext_lazy("expires"), may_be_never=True),
        moment("created_at", gettext_lazy("created")),
    )
    list_filter = (PepperFilter,)
    list_select_related = ("key",)
    search_fields = ("^start", "^key__public_id", "key__name")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # Filtering by a digest in the URL would reveal it character by character.
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)
