"""Admin pages for people, their groups and their roles. Nobody can edit a user whom they don't outrank, only superusers
can grant rights, and every change is recorded without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext, gettext_lazy

from accounts.admin.acts import AnyAdmin, become, outcome_of
from accounts.admin.choosing import ChoosesRows
from accounts.admin.columns import account_link
from accounts.admin.people_list import BoxesAdmin, PeopleListAdmin
from accounts.authority import Beyond, check_role, outranks
from accounts.models import Membership, User
from accounts.refused import Refused
from accounts.services.acts import Actor, record_act
from accounts.services.members import put_member
from accounts.services.outgrown import LeftBehind, settle

if TYPE_CHECKING:  # generic only in the stubs (docs/decisions/0027)
    _UserChangeForm = UserChangeForm[User]
else:
    _UserChangeForm = UserChangeForm

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


def tell(request: HttpRequest, left: LeftBehind) -> None:
    """Show what happened to the credentials and invitations of a person who lost rights."""
    if left:
        messages.warning(request, gettext("Credentials and keys of this person: %(left)s.") % {"left": left})


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


# People.


class PersonForm(_UserChangeForm):
    keep_credentials = forms.BooleanField(
        required=False,
        label=gettext_lazy("Keep credentials"),
        help_text=gettext_lazy(
            "Management keys and operator tokens that the person could no longer create after this change are revoked "
            "unless this is selected."
        ),
    )
    language = forms.ChoiceField(
        label=User._meta.get_field("language").verbose_name,
        help_text=User._meta.get_field("language").help_text,
        choices=lambda: [("", gettext_lazy("Automatic")), *settings.LANGUAGES],
        required=False,
    )


@admin.register(User)
class PersonAdmin(PeopleListAdmin):
    """Django's pages. Everybody may edit their own name and password, but not their own rights."""

    form = PersonForm

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            fieldsets = [*fieldsets[:2], (gettext_lazy("Language"), {"fields": ("language",)}), *fieldsets[2:]]
        if obj is None or not self.has_change_permission(request, obj):
            return fieldsets
        return [*fieldsets, (gettext_lazy("Credentials created by this person"), {"fields": ("keep_credentials",)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("last_login", "date_joined")
        return fixed if _is_superuser(request) else fixed + RIGHTS

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_self = obj is not None and obj.pk == request.user.pk
        return super().has_change_permission(request, obj) and (is_self or _outranks(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _outranks(request, obj)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        person = self.get_object(request, object_id)
        if person is not None and person.pk != request.user.pk and not _outranks(request, person):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():  # the change and its row in the audit log
            return super().user_change_password(request, id, form_url)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: Any) -> None:
        outcome_of(request).before = state_of(User.objects.get(pk=obj.pk)) if change else None
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        super().save_related(request, form, formsets, change)
        before, after = outcome_of(request).before, state_of(form.instance)
        if before is not None and has_less(before, after):
            keep = bool(form.cleaned_data.get("keep_credentials"))
            tell(request, settle(form.instance, actor=Actor.person(request), keep=keep))

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """End the person's credentials first: once the row is gone, nothing shows which ones they created."""
        with transaction.atomic():
            obj.is_active = False
            obj.save(update_fields=["is_active"])
            tell(request, settle(obj, actor=Actor.person(request)))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for person in queryset:
            self.delete_model(request, person)

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> Any:
        record_act(Actor.person(request), "user.create", obj.get_username(), after=state_of(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        record_act(
            Actor.person(request),
            "user.change",
            obj.get_username(),
            before=outcome_of(request).before,
            after={**state_of(obj), "fields": _fields_of(message)},
        )
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[User]) -> Any:
        for user in queryset:
            roles = {member.account.public_id: member.role for member in user.memberships.select_related("account")}
            before = {**state_of(user), "roles": roles}
            record_act(Actor.person(request), "user.delete", user.get_username(), before=before)
        return super().log_deletions(request, queryset)


def _outranks(request: HttpRequest, person: Any) -> bool:
    return person is None or (isinstance(request.user, User) and outranks(request.user, person))


def state_of(user: User) -> dict[str, Any]:
    """The state of a person in the audit log."""
    return {
        "username": user.get_username(),
        "email": user.email,
        "language": user.language,
        "is_active": user.is_active,
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
        "groups": [group.name for group in user.groups.all()],
        "permissions": [permission.codename for permission in user.user_permissions.all()],
    }


def has_less(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a right was removed."""
    flags = ("is_active", "is_staff", "is_superuser")
    lists = ("groups", "permissions")
    return any(before[flag] and not after[flag] for flag in flags) or any(
        set(before[name]) - set(after[name]) for name in lists
    )


def _fields_of(message: Any) -> list[str]:
    """The labels of the changed fields, as Django reports them; they include the password."""
    changes = (
        [part.get("changed", {}) for part in message if isinstance(part, dict)] if isinstance(message, list) else []
    )
    return [str(name) for change in changes for name in change.get("fields", [])]


def own_password(request: HttpRequest) -> HttpResponse:
    """Django's page for changing one's own password, recorded in the audit log."""
    with transaction.atomic():
        response = admin.site.password_change(request)
        if request.method == "POST" and isinstance(response, HttpResponseRedirect):
            actor = Actor.person(request)
            record_act(actor, "user.change", actor.name, after={"fields": ["Password"]})
    return response


# Groups. Changing one changes the rights of everybody in it.

admin.site.unregister(Group)


@admin.register(Group)
class PeopleGroupAdmin(BoxesAdmin, GroupAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: Any) -> None:
        outcome_of(request).before = _group_state(Group.objects.get(pk=obj.pk)) if change else None
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        super().save_related(request, form, formsets, change)
        before = outcome_of(request).before
        if before is not None and set(before["permissions"]) - set(_group_state(form.instance)["permissions"]):
            self._settle(request, list(_people_in(form.instance)))

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        with transaction.atomic():
            people = list(_people_in(obj))
            super().delete_model(request, obj)
            self._settle(request, people)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        for group in queryset:
            self.delete_model(request, group)

    def _settle(self, request: HttpRequest, people: Iterable[User]) -> None:
        for person in people:
            tell(request, settle(person, actor=Actor.person(request)))

    def log_addition(self, request: HttpRequest, obj: Group, message: Any) -> Any:
        record_act(Actor.person(request), "group.create", obj.name, after=_group_state(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Group, message: Any) -> Any:
        before = outcome_of(request).before
        record_act(Actor.person(request), "group.change", obj.name, before=before, after=_group_state(obj))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Group]) -> Any:
        for group in queryset:
            record_act(Actor.person(request), "group.delete", group.name, before=_group_state(group))
        return super().log_deletions(request, queryset)


def _people_in(group: Group) -> QuerySet[User]:
    return User.objects.filter(groups=group)


def _group_state(group: Group) -> dict[str, Any]:
    permissions = group.permissions.order_by("content_type__app_label", "codename")
    return {
        "name": group.name,
        "permissions": [f"{one.content_type.app_label}.{one.codename}" for one in permissions],
        "people": list(_people_in(group).order_by("username").values_list("username", flat=True)),
    }


# Roles in accounts.


@admin.register(Membership)
class MembershipAdmin(ChoosesRows, AnyAdmin):
    list_display = ("user", "account_of_it", "role")
    list_filter = ("role",)
    list_select_related = ("user", "account")
    search_fields = ("user__username", "user__email", "account__name", "account__public_id", "account__external_id")
    autocomplete_fields = ("user", "account")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "user__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description=gettext_lazy("account"), ordering="account__name")
    def account_of_it(self, member: Membership) -> str:
        return account_link(member.account, member.account.public_id)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("user", "account") if obj is not None else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _or_say_why(request, lambda: super(MembershipAdmin, self).changeform_view(request, *args, **kwargs))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return _or_say_why(request, lambda: super(MembershipAdmin, self).delete_view(request, object_id, extra_context))

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: Any) -> None:
        tell(request, put_member(obj.account, obj.user, obj.role, actor=Actor.person(request)).left)
        become(obj, Membership.objects.get(account=obj.account_id, user=obj.user_id))

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        tell(request, put_member(obj.account, obj.user, None, actor=Actor.person(request)).left)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for membership in queryset.select_related("account", "user"):
            self.delete_model(request, membership)


def _may_touch(request: HttpRequest, member: Any) -> bool:
    if member is None:
        return True
    stored = Membership.objects.select_related("account").get(pk=member.pk)
    try:
        check_role(Actor.person(request), stored.account, stored.role, None)
    except Beyond:
        return False
    return True


def _or_say_why(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    try:
        with transaction.atomic():
            return view()
    except Refused as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(request.get_full_path())
