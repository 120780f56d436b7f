"""How the admin writes: through services, and reporting "done" only once the gate knows the change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from accounts.facts.publish import Publication
from accounts.models import ApiKey
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.keys import Issued

if TYPE_CHECKING:  # generic only in the stubs (docs/decisions/0027)
    from django.utils.functional import _StrPromise as StrPromise

    AnyAdmin = admin.ModelAdmin[Any]
    AnyInline = admin.TabularInline[Any, Any]
else:
    AnyAdmin = admin.ModelAdmin
    AnyInline = admin.TabularInline

DONE = gettext_lazy("Done: {}")
PENDING = gettext_lazy(
    "Pending: {} This is saved, but Redis can't be reached, so the gate doesn't know it yet. "
    "The worker will publish it when Redis is back."
)


@dataclass(slots=True)
class RequestOutcome:
    """What a request changed. Whether its publications succeeded is known only after the commit."""

    publications: list[Publication] = field(default_factory=list)
    is_saved: bool = False
    issued: Issued | None = None
    before: Any = None  # of a user, for the audit log

    @property
    def is_pending(self) -> bool:
        return any(publication.is_pending for publication in self.publications)

    def note(self, *publications: Publication) -> None:
        self.is_saved = True
        self.publications.extend(publications)


def outcome_of(request: HttpRequest) -> RequestOutcome:
    """This request's outcome, which is kept in memory because it may contain a secret."""
    outcome: RequestOutcome = request.__dict__.setdefault("_outcome", RequestOutcome())
    return outcome


def say(request: HttpRequest, text: str, *, is_pending: bool) -> None:
    if is_pending:
        messages.warning(request, format_html(str(PENDING), text))
    else:
        messages.success(request, format_html(str(DONE), text))


def show_secret(request: HttpRequest, site: admin.AdminSite, issued: Issued) -> HttpResponse:
    """The response to the form that issued the key, and the only page that ever shows its secret. Not cached."""
    context = {
        **site.each_context(request),
        "title": gettext("Copy this key now"),
        "key": issued.key,
        "text": issued.text,
        "is_pending": issued.publication.is_pending,
        "opts": ApiKey._meta,
    }
    response = TemplateResponse(request, "admin/accounts/secret.html", context)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "strict-origin"  # `no-referrer` would break the sign-out form
    return response


class ReadOnlyAdmin(AnyAdmin):
    """Read-only pages: nobody can add, change or delete rows, whatever their permissions."""

    actions = None

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class GateAdmin(AnyAdmin):
    """Rows that the gate knows: saved by `apply`, which calls services, and never deleted."""

    def apply(self, request: HttpRequest, form: Any, formsets: Sequence[Any], *, change: bool) -> None:
        """Call services with the posted values, and put the saved row into `form.instance`."""
        raise NotImplementedError

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Does nothing yet: services save a row together with its limits, in `apply`."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        self.apply(request, form, formsets, change=bool(change))

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, dict[str, list[str]]]]:
        # Formsets know what they changed only if they saved it.
        return super().construct_change_message(request, form, [], add)

    def message_user(
        self, request: HttpRequest, message: Any, level: Any = messages.INFO, *args: Any, **kw: Any
    ) -> None:
        # Django reports success inside its transaction, before it is known whether the gate was told.
        if level != messages.SUCCESS:
            super().message_user(request, message, level, *args, **kw)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        try:
            with transaction.atomic():
                self.queue(request)
                response = super().changeform_view(request, object_id, form_url, extra_context)
        except (Refused, ValidationError) as error:
            messages.error(request, "; ".join(texts_of(error)))
            return HttpResponseRedirect(request.get_full_path())
        outcome = outcome_of(request)
        if outcome.issued is not None:
            return show_secret(request, self.admin_site, outcome.issued)
        if outcome.is_saved:
            words = gettext("%(kind)s saved.") % {"kind": capfirst(str(self.opts.verbose_name))}
            say(request, words, is_pending=outcome.is_pending)
        elif isinstance(response, HttpResponseRedirect):
            messages.info(request, gettext("Nothing was changed."))
        return response

    def queue(self, request: HttpRequest) -> None:
        """Take locks against concurrent changes; called inside the transaction, before validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act on a row, with a page of its own."""

    name: str
    title: str | StrPromise
    warning: str | StrPromise
    is_offered: Callable[[Any], bool]
    run: Callable[[Any, Any, Actor], Publication | Issued]
    form: type[forms.Form] = forms.Form


def plainly(service: Callable[..., Publication]) -> Callable[[Any, Any, Actor], Publication]:
    """Adapts a service that needs no form to `Act.run`."""
    return lambda row, cleaned, actor: service(row, actor=actor)


class ActsAdmin(GateAdmin):
    """A change page with a button for each act that is currently possible."""

    change_form_template = "admin/accounts/change_form_acts.html"
    acts: tuple[Act, ...] = ()

    def get_urls(self) -> list[URLPattern]:
        opts = self.opts
        return [
            path(
                f"<path:object_id>/{act.name}/",
                self.admin_site.admin_view(self._view_of(act)),
                name=f"{opts.app_label}_{opts.model_name}_{act.name}",
            )
            for act in self.acts
        ] + super().get_urls()

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None and self.has_change_permission(request, obj):
            context["acts"] = [act for act in self.acts if act.is_offered(obj)]
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _view_of(self, act: Act) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            return self._act(request, act, object_id)

        return view

    def _act(self, request: HttpRequest, act: Act, object_id: str) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        is_posted = request.method == "POST"
        form = act.form(request.POST if is_posted else None, initial={"version": getattr(row, "version", None)})
        if is_posted and form.is_valid():
            try:
                done = act.run(row, form.cleaned_data, Actor.person(request))
            except (Refused, ValidationError) as error:
                form.add_error(None, texts_of(error))
            else:
                return self._after(request, act, row, done)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{act.title}: {row}",
            "act": act,
            "form": form,
            "original": row,
            "opts": self.opts,
            "row_url": self._url_of(row),
        }
        return TemplateResponse(request, "admin/accounts/act.html", context)

    def _after(self, request: HttpRequest, act: Act, row: Any, done: Publication | Issued) -> HttpResponse:
        if isinstance(done, Issued):
            return show_secret(request, self.admin_site, done)
        say(request, f"{act.title}: {row}.", is_pending=done.is_pending)
        return HttpResponseRedirect(self._url_of(row))

    def _url_of(self, row: Any) -> str:
        opts = self.opts
        return reverse(f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_change", args=(row.pk,))


class FollowsParent(AnyInline):
    """Rows that are part of a parent row, with the parent's permissions."""

    extra = 0

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The columns' headings are no labels of the fields below them."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs.setdefault("aria-label", capfirst(str(field.label or db_field.verbose_name)))
        return field

    def _parent(self) -> AnyAdmin:
        return self.admin_site.get_model_admin(self.parent_model)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._parent().has_view_permission(request, obj)

    def _may_edit(self, request: HttpRequest, obj: Model | None) -> bool:
        if obj is None or obj.pk is None:
            return self._parent().has_add_permission(request)
        return self._parent().has_change_permission(request, obj)


def become(row: Model, saved: Model) -> None:
    """Turn a form's unsaved row into the row that a service saved."""
    row.__dict__.update(saved.__dict__)


def texts_of(error: Refused | ValidationError) -> list[str]:
    return error.messages if isinstance(error, ValidationError) else [str(error)]
