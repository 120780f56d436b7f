"""Admin pages for models, plans, the catalogue and usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin.acts import FollowsParent, GateAdmin, become, outcome_of, say
from accounts.admin.columns import moment, toned
from accounts.admin.paging import by_time
from accounts.admin.records import NamingAdmin
from accounts.facts.publish import models_base
from accounts.services.acts import Actor
from accounts.services.catalogue import change_catalogue
from console.limits import sentence
from console.usage.refusals import NO_MODEL
from quotas import rules
from quotas.catalogue.applying import apply_default_plan, apply_model, apply_plan, include_in_every, include_in_plan
from quotas.catalogue.file import BadCatalogue, ModelEntry, PlanEntry
from quotas.catalogue.forms import LimitForm, LimitFormSet, RowForm, limit_of
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import NEW, Catalogue, Plan, PlanLimit, ServedModel, UsageHour


class CatalogueEdits(GateAdmin):
    """Edits of the catalogue, applied in the same way as a catalogue file."""

    def queue(self, request: HttpRequest) -> None:
        Catalogue.objects.get_or_create(pk=1)
        models_base(Catalogue).select_for_update().get(pk=1)

    def note_change(self, request: HttpRequest, apply: Callable[[], Iterable[str]]) -> None:
        lines, publication = change_catalogue(apply, actor=Actor.person(request))
        if lines:
            outcome_of(request).note(publication)


class ServedModelForm(RowForm):
    """A model with a path of its own, whose calls fit into the limits of its plans."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "path" in self.fields and self.instance.pk is None:
            self.fields["path"].required = False
            words = (_("Empty: / followed by the slug."), str(self.fields["path"].help_text))
            self.fields["path"].help_text = " ".join(words)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        slug = str(self.instance.slug or cleaned.get("slug") or "")
        if not cleaned.get("path") and "path" not in self.errors and slug:
            cleaned["path"] = f"/{slug}"
        if cleaned.get("path"):
            self._keep_paths_apart(slug, cleaned["path"])
        if cleaned.get("cost"):
            self._fit_limits(slug, cleaned["cost"])
        return cleaned

    def _keep_paths_apart(self, slug: str, path: str) -> None:
        others = dict(ServedModel.objects.exclude(pk=self.instance.pk).values_list("slug", "path"))
        for one, other, text in rules.conflicting_paths({**others, slug: path}):
            if slug in (one, other):
                self.add_error("path", text)

    def _fit_limits(self, slug: str, cost: int) -> None:
        for plan in Plan.objects.prefetch_related("limits__model", "served_models"):
            if plan.all_models or slug in {model.slug for model in plan.served_models.all()}:
                found = [limit.value() for limit in plan.limits.all()]
                for _limit, text in rules.costs_that_never_fit(found, {slug: cost}):
                    self.add_error("cost", _("plan %(plan)s: %(fault)s") % {"plan": plan.name, "fault": text})


class IsNew(admin.SimpleListFilter):
    """Models that were found in Traefik and that no plan names yet."""

    title = gettext_lazy("new")
    parameter_name = "new"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", _("New, not named by a plan yet"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(NEW) if self.value() == "1" else queryset


@admin.register(ServedModel)
class ServedModelAdmin(CatalogueEdits):
    form = ServedModelForm
    fields = ("slug", "path", "title", "cost", "enabled", "auto_include", "speaks", "example")
    list_display = ("slug_of_it", "path", "cost", "state_of_it", "plans_of_it", "created")
    created = moment("created_at", gettext_lazy("created"))
    list_filter = (IsNew, "enabled", "auto_include")
    actions = ("include_in_every",)
    search_fields = ("slug", "title", "path")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("plans")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj is not None else ()

    @admin.display(description=gettext_lazy("model"), ordering="slug")
    def slug_of_it(self, model: ServedModel) -> str:
        return format_html('{}<span class="below">{}</span>', model.slug, model.title)

    @admin.display(description=gettext_lazy("state"))
    def state_of_it(self, model: ServedModel) -> str:
        if not model.enabled:
            return toned(_("Disabled"), "bad")
        return toned(_("New"), "warn") if model.is_new else toned(_("Served"), "good")

    @admin.display(description=gettext_lazy("plans"))
    def plans_of_it(self, model: ServedModel) -> str:
        named = [plan.name for plan in model.plans.all()]
        is_in_every = model.auto_include or bool(named)
        return ", ".join([*([_("every plan with every model")] if is_in_every else []), *named]) or "–"

    @admin.action(description=gettext_lazy('Include in plans with every model ("*")'), permissions=["change"])
    def include_in_every(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        slugs = list(queryset.values_list("slug", flat=True))
        lines, publication = change_catalogue(lambda: include_in_every(slugs), actor=Actor.person(request))
        words = _("%(included)d of %(chosen)d models included.") % {"included": len(lines), "chosen": len(slugs)}
        say(request, words, is_pending=publication.is_pending)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.include)
        return [path("<int:model_id>/include/", page, name="quotas_servedmodel_include"), *super().get_urls()]

    def include(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Add a model to the plan that was chosen, or to every plan with every model: the button on the front page."""
        model = self.get_object(request, str(model_id))
        if request.method != "POST" or not self.has_change_permission(request, model):
            raise PermissionDenied
        if model is None:
            raise Http404
        name = request.POST.get("plan", "")
        if name and not Plan.objects.filter(name=name).exists():
            raise Http404
        apply = (lambda: include_in_plan(model.slug, name)) if name else (lambda: include_in_every([model.slug]))
        try:
            _lines, publication = change_catalogue(apply, actor=Actor.person(request))
        except BadCatalogue as error:
            messages.error(request, str(error))
        else:
            plan = name or _("every plan with every model")
            words = _("%(model)s is in %(plan)s.") % {"model": model.slug, "plan": plan}
            say(request, words, is_pending=publication.is_pending)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:index"))

    def apply(self, request: HttpRequest, form: Any, formsets: Sequence[Any], *, change: bool) -> None:
        row, cleaned = form.instance, form.cleaned_data
        entry = ModelEntry(
            row.slug,
            cleaned["path"],
            cleaned["title"],
            cleaned["cost"],
            cleaned["enabled"],
            cleaned["auto_include"],
            cleaned["speaks"],
            cleaned["example"],
        )
        self.note_change(request, lambda: apply_model(entry))
        become(row, ServedModel.objects.get(slug=entry.slug))


class PlanForm(RowForm):
    class Meta:
        widgets = {"served_models": forms.CheckboxSelectMultiple}
        help_texts = {
            "served_models": gettext_lazy("The models of the plan. Ignored if every model is selected above.")
        }


class PlanLimitForm(LimitForm):
    class Meta:
        help_texts = {
            "scope": gettext_lazy(
                "A limit per key multiplies with the number of keys: add a limit per account as well."
            )
        }


class LimitInWords(PlanLimitForm):
    """A limit alone, without a plan that it would belong to."""

    class Meta(PlanLimitForm.Meta):
        model = PlanLimit
        fields = ("name", "scope", "model", "amount", "window", "unit", "burst", "shadow")


class PlanLimitInline(FollowsParent):
    model = PlanLimit
    form = PlanLimitForm
    formset = LimitFormSet
    verbose_name, verbose_name_plural = gettext_lazy("limit"), gettext_lazy("limits")
    fields = ("in_words", "name", "scope", "model", "amount", "window", "unit", "burst", "shadow")
    readonly_fields = ("in_words",)

    class Media:
        js = ("console/limits.js",)

    @admin.display(description=gettext_lazy("in words"))
    def in_words(self, limit: PlanLimit) -> SafeString:
        """What the row says; limits.js asks again while somebody types."""
        words = sentence(limit.value()) if limit.pk else ""
        return format_html('<span data-words="{}">{}</span>', reverse("admin:quotas_plan_words"), words)


@admin.register(Plan)
class PlanAdmin(CatalogueEdits):
    form = PlanForm
    fields = ("name", "title", "all_models", "auto_include", "served_models", "max_keys", "offered")
    inlines = (PlanLimitInline,)
    list_display = ("name", "title", "models_of_it", "limits_of_it", "accounts_on_it", "created")
    created = moment("created_at", gettext_lazy("created"))
    list_filter = ("all_models", "served_models")
    search_fields = ("name", "title")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        plans = super().get_queryset(request).prefetch_related("served_models", "limits__model")
        counted: QuerySet[Any] = plans.annotate(account_count=Count("accounts", distinct=True))
        return counted

    def get_urls(self) -> list[URLPattern]:
        return [path("words/", self.admin_site.admin_view(self.words), name="quotas_plan_words"), *super().get_urls()]

    def words(self, request: HttpRequest) -> HttpResponse:
        """A limit in words while it is being typed; nothing while it is not yet one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = LimitInWords({"name": "limit", **request.GET.dict()})
        words = sentence(limit_of(form.cleaned_data, scope="key")) if form.is_valid() else ""
        return HttpResponse(words, content_type="text/plain; charset=utf-8")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name", "warnings") if obj is not None else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.fields, "warnings") if obj is not None and self.warnings(obj) else self.fields

    @admin.display(description=gettext_lazy("warnings"))
    def warnings(self, plan: Plan) -> str:
        return format_html_join(mark_safe("<br>"), "{}.", _warnings(limit.value() for limit in plan.limits.all()))

    @admin.display(description=gettext_lazy("models"))
    def models_of_it(self, plan: Plan) -> str:
        return _("every model") if plan.all_models else ", ".join(model.slug for model in plan.served_models.all())

    @admin.display(description=gettext_lazy("limits"))
    def limits_of_it(self, plan: Plan) -> str:
        return format_html_join(mark_safe("<br>"), "{}", ((sentence(limit.value()),) for limit in plan.limits.all()))

    @admin.display(description=gettext_lazy("accounts"), ordering="account_count")
    def accounts_on_it(self, plan: Any) -> int:
        return int(plan.account_count)

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        if request.method == "POST":
            models = ServedModel.objects.all()
            if not request.POST.get("all_models"):
                wanted = [pk for pk in request.POST.getlist("served_models") if pk.isascii() and pk.isdigit()]
                models = models.filter(pk__in=wanted)
            kwargs["costs"] = dict(models.values_list("slug", "cost"))
        return kwargs

    def apply(self, request: HttpRequest, form: Any, formsets: Sequence[Any], *, change: bool) -> None:
        plan, cleaned = form.instance, form.cleaned_data
        named = (EVERY_MODEL,) if cleaned["all_models"] else tuple(model.slug for model in cleaned["served_models"])
        limits = tuple(limit for formset in formsets for limit in formset.values())
        entry = PlanEntry(
            plan.name,
            cleaned["title"],
            named,
            limits,
            cleaned["auto_include"],
            cleaned["max_keys"],
            cleaned["offered"],
        )
        self.note_change(request, lambda: apply_plan(entry))
        for (text,) in _warnings(limits):
            words = _("Plan %(plan)s: %(warning)s.") % {"plan": entry.name, "warning": text}
            self.message_user(request, words, messages.WARNING)
        become(plan, Plan.objects.get(name=entry.name))


def _warnings(limits: Iterable[Limit]) -> list[tuple[str]]:
    """One-tuples, as format_html_join expects."""
    return [(text,) for _name, text in rules.multiplied(limits)]


@admin.register(Catalogue)
class CatalogueAdmin(CatalogueEdits):
    """The single row with the default plan and the version that the gate should have."""

    fields = ("default_plan", "version")
    readonly_fields = ("version",)
    list_display = ("__str__", "default_plan")
    list_select_related = ("default_plan",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def apply(self, request: HttpRequest, form: Any, formsets: Sequence[Any], *, change: bool) -> None:
        plan = form.cleaned_data["default_plan"]
        self.note_change(request, lambda: apply_default_plan(plan.name if plan else None))


@admin.register(UsageHour)
class UsageHourAdmin(NamingAdmin):
    list_display = (
        "hour_of_it",
        "account_of_it",
        "key_named",
        "model_of_it",
        "allowed",
        "refused",
        "shadow_refused",
        "units",
    )
    hour_of_it = moment("hour", gettext_lazy("hour"))
    sortable_by = ("hour_of_it",)  # other orders would sort the whole table
    list_filter = (by_time("hour"),)
    search_fields = ("=account", "=key", "=model")
    search_help_text = gettext_lazy("The id of an account or a key, or the slug of a model.")

    @admin.display(description=gettext_lazy("key"))
    def key_named(self, row: UsageHour) -> str:
        return self.key_of_it(row, row.key)

    @admin.display(description=gettext_lazy("model"))
    def model_of_it(self, row: UsageHour) -> str:
        return _("No such model") if row.model == NO_MODEL else row.model

    def ids_of(self, row: UsageHour) -> tuple[str, str]:
        return row.account, row.key
