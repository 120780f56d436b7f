"""Admin pages for what was recorded: the audit log, invitations, kept answers, and what is still to be published."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy

from accounts.admin.acts import ReadOnlyAdmin
from accounts.models import AuditEvent, Invitation, KeptAnswer, OutboxRow, SeenStore
from accounts.services.audit import table_bytes


class ActFilter(admin.SimpleListFilter):
    title = gettext_lazy("kind of act")
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
