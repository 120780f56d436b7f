"""Admin pages for accounts: plan, overrides, members, keys, and what they used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin.acts import Act, ActsAdmin, FollowsParent, become, outcome_of, plainly, say, texts_of
from accounts.admin.choosing import ChoosesRows
from accounts.admin.columns import STATES, badge, moment
from accounts.admin.moving import DAYS, MoveForm, offers
from accounts.admin.people import tell
from accounts.models import Account, AccountOverride, ApiKey, Membership, User
from accounts.refused import Refused
from accounts.services.accounts import (
    AccountEdit,
    OverrideAmount,
    change_account,
    close_account,
    create_account,
    move_account,
    override_limits,
    reopen_account,
    resume_account,
    suspend_account,
)
from accounts.services.acts import Actor
from accounts.services.members import put_member
from console.charts import chart_of, floor, steps
from console.keys.state import state_of
from console.limits import sentence
from console.operators.figures import days_of, sums_of
from console.operators.places import may
from quotas.catalogue.forms import InlineFormSet, RowForm
from quotas.models import Catalogue
from quotas.terms import limits_in_force

CHART_DAYS = 30
MOST_KEYS = 10  # listed on the page of an account


class StateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, str(STATES[state].words)) for state in ("active", "suspended", "closed")]

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

    limit_name = forms.ChoiceField(
        label=gettext_lazy("limit"), widget=forms.Select(attrs={"aria-label": gettext_lazy("Limit")})
    )


class OverrideInline(FollowsParent):
    model = AccountOverride
    form = OverrideForm
    verbose_name = gettext_lazy("amount of its own")
    verbose_name_plural = gettext_lazy("amounts of its own, instead of the plan's")
    fields = ("limit_name", "amount", "burst")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        field = formset.form.base_fields.get("limit_name")
        if isinstance(field, forms.ChoiceField) and obj is not None:
            names = {*obj.plan.limits.values_list("name", flat=True)}
            names |= {*obj.overrides.values_list("limit_name", flat=True)}
            field.choices = [(name, name) for name in sorted(names)]
        return formset


class MemberInline(ChoosesRows, FollowsParent):
    model = Membership
    verbose_name, verbose_name_plural = gettext_lazy("member"), gettext_lazy("members")
    fields = ("user", "role")
    autocomplete_fields = ("user",)


_WRITABLE = ("name", "external_id", "plan", "max_keys")


@admin.register(Account)
class AccountAdmin(ActsAdmin):
    change_form_template = "admin/accounts/account.html"
    list_display = (
        "name",
        "state_of_it",
        "plan",
        "key_count",
        "member_count",
        "external_id",
        "public_id",
        "created",
    )
    state_of_it, created = badge("state", gettext_lazy("state")), moment("created_at", gettext_lazy("created"))
    list_filter = (StateFilter, "plan")
    list_select_related = ("plan",)
    search_fields = ("name", "public_id", "external_id", "users__username", "users__email")
    search_help_text = gettext_lazy("Name, public id, external id, or a member's user name or email address.")
    details = ("public_id", "created_at", "plan_since", "suspended_at", "closed_at", "version")
    acts = (
        Act(
            name="suspend",
            title=gettext_lazy("Suspend"),
            warning=gettext_lazy("All calls of the account are refused until it is resumed."),
            is_offered=lambda account: account.state == "active",
            run=plainly(suspend_account),
        ),
        Act(
            name="resume",
            title=gettext_lazy("Resume"),
            warning=gettext_lazy("The account's keys work again from the next request on."),
            is_offered=lambda account: account.state == "suspended",
            run=plainly(resume_account),
        ),
        Act(
            name="close",
            title=gettext_lazy("Close"),
            warning=gettext_lazy("All calls of the account are refused until it is reopened here."),
            is_offered=lambda account: account.state != "closed",
            run=plainly(close_account),
        ),
        Act(
            name="reopen",
            title=gettext_lazy("Reopen"),
            warning=gettext_lazy("Keys that were not revoked work again from the next request on."),
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

    @admin.display(description=gettext_lazy("keys"), ordering="number_of_keys")
    def key_count(self, account: Any) -> int:
        return int(account.number_of_keys)

    @admin.display(description=gettext_lazy("members"), ordering="number_of_members")
    def member_count(self, account: Any) -> int:
        return int(account.number_of_members)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": _WRITABLE})]
        # The plan has a page of its own, which shows what a different one would have refused.
        fields = [name for name in _WRITABLE if name != "plan"]
        return [(None, {"fields": fields}), (_("Details"), {"fields": self.details, "classes": ("collapse",)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.details if obj is not None else ()

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return (OverrideInline, MemberInline) if obj is not None else (MemberInline,)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        default = Catalogue.objects.filter(pk=1).values_list("default_plan", flat=True).first()
        return {"plan": default, **super().get_changeform_initial_data(request)}

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.change_plan)
        return [path("<int:account_id>/plan/", page, name="accounts_account_plan"), *super().get_urls()]

    def change_plan(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Every plan with what it would have refused last week, and the choice of one."""
        account = self.get_object(request, str(account_id))
        if not self.has_change_permission(request, account):
            raise PermissionDenied
        if account is None:
            raise Http404
        form = MoveForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            try:
                publication = move_account(account, form.cleaned_data["plan"], actor=Actor.person(request))
            except (Refused, ValidationError) as error:
                form.add_error(None, texts_of(error))
            else:
                words = _("%(account)s is on the plan %(plan)s.")
                told = words % {"account": account, "plan": form.cleaned_data["plan"]}
                say(request, told, is_pending=publication.is_pending)
                return HttpResponseRedirect(self._url_of(account))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Change the plan of %(name)s") % {"name": account.name},
            "form": form,
            "account": account,
            "opts": self.opts,
            "offers": offers(account),
            "days": DAYS,
            "row_url": self._url_of(account),
        }
        return TemplateResponse(request, "admin/accounts/change_plan.html", context)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            context["title"] = obj.name
            context |= _at_a_glance(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

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


def _at_a_glance(request: HttpRequest, account: Account) -> dict[str, Any]:
    """What the page shows above the form: the plan in words, usage and keys, as far as this person may see them."""
    overrides = {row.limit_name: row for row in account.overrides.all()}
    plan = [limit.value() for limit in account.plan.limits.select_related("model")]
    limits = limits_in_force(plan, overrides, 0, ())
    shown: dict[str, Any] = {"account": account, "state": STATES[account.state].words}
    shown["limits"] = [(sentence(one), one.name in overrides) for one in limits]
    now = timezone.now()
    if may(request, "quotas.view_usagehour"):
        rows = days_of(now, CHART_DAYS, accounts=(account.public_id,))
        moments = steps(floor(now, "day") - timedelta(days=CHART_DAYS - 1), now, "day")
        shown["chart"] = chart_of(
            rows, moments, "day", series_of=lambda row: row.model or "", words=_("Calls a day by model")
        )
        shown["sums"] = sums_of(rows)
    if may(request, "accounts.view_apikey"):
        keys = ApiKey.objects.filter(account=account).prefetch_related("secrets")
        shown["keys"] = [(key, state_of(key, now)) for key in keys[:MOST_KEYS]]
        shown["key_count"] = keys.count()
    return shown
