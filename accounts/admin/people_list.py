"""The list of people: who they are, what they may do here, how they sign in, and when they last did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Count, Exists, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin.acts import AnyAdmin
from accounts.admin.columns import STATES, moment, toned
from accounts.admin.paging import LargeTableAdmin
from accounts.models import Membership, User
from runtime.figures import number

if TYPE_CHECKING:  # generic only in the stubs (docs/decisions/0027)
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin


class RightsFilter(admin.SimpleListFilter):
    title = gettext_lazy("rights")
    parameter_name = "rights"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("superuser", gettext_lazy("Superusers")),
            ("staff", gettext_lazy("Staff")),
            ("customer", gettext_lazy("Customers")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        match self.value():
            case "superuser":
                return queryset.filter(is_superuser=True)
            case "staff":
                return queryset.filter(is_staff=True)
            case "customer":
                return queryset.filter(is_staff=False, is_superuser=False)
        return queryset


class PersonStateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("active", STATES["active"].words),
            ("blocked", gettext_lazy("Blocked")),
            ("never", gettext_lazy("Never signed in")),
            ("no-second-factor", gettext_lazy("Without a second factor")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "active":
                return queryset.filter(is_active=True)
            case "blocked":
                return queryset.filter(is_active=False)
            case "never":
                return queryset.filter(last_login=None)
            case "no-second-factor":
                return queryset.filter(~Exists(_second_factors()), is_active=True)
        return queryset


class BoxesAdmin(AnyAdmin):
    """Groups and permissions are boxes to tick: Django's two lists have buttons that only a mouse finds."""

    filter_horizontal = ()

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(
            db_field, request=request, **{"widget": forms.CheckboxSelectMultiple, **kwargs}
        )


class PeopleListAdmin(BoxesAdmin, LargeTableAdmin, _UserAdmin):
    """What a page of people shows."""

    list_display = ("person", "email", "rights", "state_of_it", "second_factor", "belongs_to", "signed_in", "joined")
    signed_in = moment("last_login", gettext_lazy("last signed in"), may_be_never=True)
    joined = moment("date_joined", gettext_lazy("joined"))
    list_filter = (PersonStateFilter, RightsFilter, "groups")
    search_fields = ("username", "first_name", "last_name", "email")
    search_help_text = gettext_lazy("User name, name or email address.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        of_person = Membership.objects.filter(user=OuterRef("pk")).order_by().values("user")
        count = Subquery(of_person.annotate(n=Count("pk")).values("n"))
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                account_count=Coalesce(count, 0, output_field=IntegerField()),
                has_second_factor=Exists(_second_factors()),
            )
        )
        return rows

    @admin.display(description=gettext_lazy("person"), ordering="username")
    def person(self, user: User) -> str:
        return format_html('{}<span class="below">{}</span>', user.get_username(), user.get_full_name())

    @admin.display(description=gettext_lazy("rights"))
    def rights(self, user: User) -> str:
        if user.is_superuser:
            return toned(_("Superuser"), "plain accent")
        return toned(_("Staff"), "plain accent") if user.is_staff else "–"

    @admin.display(description=gettext_lazy("state"))
    def state_of_it(self, user: User) -> str:
        return toned(*STATES["active"]) if user.is_active else toned(_("Blocked"), "bad")

    @admin.display(description=gettext_lazy("second factor"))
    def second_factor(self, user: Any) -> str:
        return _("Yes") if user.has_second_factor else _("No")

    @admin.display(description=gettext_lazy("accounts"), ordering="account_count")
    def belongs_to(self, user: Any) -> str:
        if not user.account_count:
            return "–"
        address = f"{reverse('admin:accounts_membership_changelist')}?{urlencode({'user__id__exact': user.pk})}"
        words = ngettext("%(count)s account", "%(count)s accounts", user.account_count)
        return format_html('<a href="{}">{}</a>', address, words % {"count": number(user.account_count)})


def _second_factors() -> QuerySet[Any]:
    """Recovery codes alone are none: they come with one."""
    rows: QuerySet[Any] = Authenticator.objects.filter(user=OuterRef("pk"))
    return rows.exclude(type=Authenticator.Type.RECOVERY_CODES)
