"""Admin pages for accounts, the audit log and the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import credentials, keys, people  # noqa: F401  their pages register themselves
from accounts.admin.acts import Act, ActsAdmin, FollowsParent, ReadOnlyAdmin, become, outcome_of, plainly
from accounts.admin.people import tell
from accounts.models import (
    Account,
    AccountOverride,
    ApiKey,
    AuditEvent,
    Invitation,
    KeptAnswer,
    Membership,
    OutboxRow,
    SeenStore,
    User,
)
from accounts.services.accounts import (
    AccountEdit,
    OverrideAmount,
    change_account,
    close_account,
    create_account,
    override_limits,
    reopen_account,
    resume_account,
    suspend_account,
)
from accounts.services.acts import Actor
from accounts.services.audit import table_bytes
from accounts.services.members import put_member
from quotas.catalogue.forms import InlineFormSet, RowForm
from quotas.models import Catalogue

# Accounts and the people in them.


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in ("active", "suspended", "closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Account]) -> QuerySet[Account]:
        match self.value():
            case "active":
                return queryset.filter(closed_at=None, suspended_at=None)
            case "suspended":
                return queryset.filter(closed_at=None, suspended_at__isnull=False)
            case "closed":
                return queryset.filter(closed_at__isnull=False)
        return queryset


class OverrideForm(RowForm):
    """An amount that replaces that of a plan's limit."""

    limit_name = forms.ChoiceField(label="limit")


class OverrideInline(FollowsParent):
    model = AccountOverride
    form = OverrideForm
    fields = ("limit_name", "amount", "burst")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        field = formset.form.base_fields.get("limit_name")
        if isinstance(field, forms.ChoiceField) and obj is not None:
            names = {*obj.plan.limits.values_list("name", flat=True)}
            names |= {*obj.overrides.values_list("limit_name", flat=True)}
            field.choices = [(name, name) for name in sorted(names)]
        return formset


class MemberInline(FollowsParent):
    model = Membership
    fields = ("user", "role")
    autocomplete_fields = ("user",)


_WRITABLE = ("name", "external_id", "plan", "max_keys")


@admin.register(Account)
class AccountAdmin(ActsAdmin):
    list_display = ("name", "public_id", "external_id", "state", "plan", "key_count", "member_count", "created_at")
    list_filter = (StateFilter, "plan")
    list_select_related = ("plan",)
    search_fields = ("name", "public_id", "external_id", "users__username", "users__email")
    fields = (
        "name",
        "external_id",
        "plan",
        "max_keys",
        "public_id",
        "state",
        "plan_since",
        "suspended_at",
        "closed_at",
        "keys",
        "version",
    )
    acts = (
        Act(
            name="suspend",
            title="Suspend",
            warning="All calls of the account are refused until it is resumed.",
            is_offered=lambda account: account.state == "active",
            run=plainly(suspend_account),
        ),
        Act(
            name="resume",
            title="Resume",
            warning="The account's keys work again from the next request on.",
            is_offered=lambda account: account.state == "suspended",
            run=plainly(resume_account),
        ),
        Act(
            name="close",
            title="Close",
            warning="All calls of the account are refused until it is reopened here.",
            is_offered=lambda account: account.state != "closed",
            run=plainly(close_account),
        ),
        Act(
            name="reopen",
            title="Reopen",
            warning="Keys that were not revoked work again from the next request on.",
            is_offered=lambda account: account.state == "closed" and not account.is_erased,
            run=plainly(reopen_account),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                number_of_keys=_count_of(ApiKey.objects.filter(revoked_at=None)),
                number_of_members=_count_of(Membership.objects.all()),
            )
        )
        return rows

    @admin.display(description="keys", ordering="number_of_keys")
    def key_count(self, account: Any) -> int:
        return int(account.number_of_keys)

    @admin.display(description="members", ordering="number_of_members")
    def member_count(self, account: Any) -> int:
        return int(account.number_of_members)

    @admin.display
    def keys(self, account: Account) -> SafeString:
        listed = reverse("admin:accounts_apikey_changelist") + f"?account__id__exact={account.pk}"
        issue = reverse("admin:accounts_apikey_add") + f"?for_account={account.pk}"
        return format_html('<a href="{}">Show</a> · <a href="{}">Issue a key</a>', listed, issue)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj is not None else _WRITABLE

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return tuple(name for name in self.get_fields(request, obj) if name not in _WRITABLE)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return (OverrideInline, MemberInline) if obj is not None else (MemberInline,)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        default = Catalogue.objects.filter(pk=1).values_list("default_plan", flat=True).first()
        return {"plan": default, **super().get_changeform_initial_data(request)}

    def apply(self, request: HttpRequest, form: Any, formsets: Sequence[Any], *, change: bool) -> None:
        actor, outcome, account, cleaned = Actor.person(request), outcome_of(request), form.instance, form.cleaned_data
        if not change:
            saved, publication = create_account(
                cleaned["name"],
                cleaned["plan"],
                external_id=cleaned["external_id"],
                edit=AccountEdit(max_keys=cleaned["max_keys"]),
                actor=actor,
            )
            become(account, saved)
            outcome.note(publication)
        else:
            changed = {name: cleaned[name] for name in form.changed_data if name in _WRITABLE}
            if "plan" in changed:
                changed["plan"] = changed["plan"].name
            if changed:
                outcome.note(change_account(account, AccountEdit(**changed), actor=actor))
        for formset in formsets:
            if not formset.has_changed():
                continue
            if formset.model is AccountOverride:
                outcome.note(override_limits(account, _changed_overrides(formset), actor=actor))
            else:
                _set_roles(request, account, formset, actor)
                outcome.is_saved = True


def _changed_overrides(formset: InlineFormSet) -> dict[str, OverrideAmount | None]:
    """Only the rows that were edited here: somebody else may have changed others since the page was opened."""
    removed = [form.initial["limit_name"] for form in formset.deleted_forms if form.instance.pk]
    edited = [form for form in formset.forms if form.has_changed() and form not in formset.deleted_forms]
    removed += [form.initial["limit_name"] for form in edited if form.instance.pk and "limit_name" in form.changed_data]
    rows = [form.cleaned_data for form in edited]
    amounts = {row["limit_name"]: OverrideAmount(row["amount"], row["burst"]) for row in rows}
    return {**dict.fromkeys(removed), **amounts}


def _set_roles(request: HttpRequest, account: Account, formset: InlineFormSet, actor: Actor) -> None:
    for form in formset.forms:
        if not form.has_changed():
            continue
        before = User.objects.filter(pk=form.initial.get("user") or 0).first()
        is_gone = form in formset.deleted_forms
        if before is not None and (is_gone or "user" in form.changed_data):
            tell(request, put_member(account, before, None, actor=actor).left)
        if not is_gone:
            tell(request, put_member(account, form.cleaned_data["user"], form.cleaned_data["role"], actor=actor).left)


def _count_of(rows: QuerySet[Any]) -> Any:
    """The number of these rows per account, without a join."""
    counted = rows.filter(account=OuterRef("pk")).order_by().values("account").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted), 0, output_field=IntegerField())


# The audit log, and what is still to be published.


class ActFilter(admin.SimpleListFilter):
    title = "kind of act"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in ("account", "key", "catalogue", "user", "group")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(act__startswith=f"{self.value()}.") if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "address", "act", "account", "subject")
    list_filter = (ActFilter,)
    search_fields = ("actor", "act", "=account", "=subject", "=address")
    date_hierarchy = "at"
    show_full_result_count = False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        size, days = table_bytes(), settings.AUDIT_KEEP_DAYS
        words = "Its size is unknown" if size is None else f"The table takes up {filesizeformat(size)}"
        kept = f"rows are kept for {days:g} days" if days else "rows are kept forever (AUTHSVC_AUDIT_KEEP)"
        return super().changelist_view(request, {"subtitle": f"{words}; {kept}.", **(extra_context or {})})


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "account", "role", "invited_by", "sent_at", "expires_at", "accepted_at", "withdrawn_at")
    readonly_fields = ("created_by", "made_with")
    list_select_related = ("account",)
    search_fields = ("email", "account__name", "=account__public_id")


@admin.register(KeptAnswer)
class KeptAnswerAdmin(ReadOnlyAdmin):
    fields = list_display = ("caller", "account", "subject", "status", "created_at")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # Filtering by hidden fields in the URL would reveal them character by character.
        return lookup.partition("__")[0] in self.fields

    search_fields = ("=subject", "=account")


@admin.register(OutboxRow)
class OutboxRowAdmin(ReadOnlyAdmin):
    list_display = ("id", "part", "subject", "version", "created_at")
    list_filter = ("part",)
    search_fields = ("=subject",)


@admin.register(SeenStore)
class SeenStoreAdmin(ReadOnlyAdmin):
    list_display = ("identity",)
    search_fields = ("identity",)
