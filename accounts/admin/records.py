"""Admin pages for what was recorded: the audit log, invitations, kept answers, and what is still to be published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin.acts import ReadOnlyAdmin
from accounts.admin.columns import account_link, moment
from accounts.admin.paging import LargeTableAdmin, by_time
from accounts.models import Account, ApiKey, AuditEvent, Invitation, KeptAnswer, OutboxRow, SeenStore
from accounts.services.audit import table_bytes
from console.audit import words_of
from console.operators.places import may

_KINDS = {
    "account": gettext_lazy("Accounts"),
    "key": gettext_lazy("Keys"),
    "catalogue": gettext_lazy("Catalogue"),
    "user": gettext_lazy("People"),
    "group": gettext_lazy("Staff groups"),
    "invitation": gettext_lazy("Invitations"),
    "management_key": gettext_lazy("Management keys"),
    "operator_token": gettext_lazy("Operator tokens"),
    "import": gettext_lazy("Imports"),
}


class ActFilter(admin.SimpleListFilter):
    title = gettext_lazy("kind of act")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(_KINDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(act__startswith=f"{self.value()}.") if self.value() in _KINDS else queryset


class NamingAdmin(ReadOnlyAdmin, LargeTableAdmin):
    """Rows that name accounts and keys by their ids, and outlive them: the names are looked up for a whole page."""

    def ids_of(self, row: Any) -> tuple[str, str]:
        """The ids of the account and of the key that a row names; empty if none."""
        raise NotImplementedError

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        if may(request, "accounts.view_account", "accounts.view_apikey"):
            self._name(found.result_list)
        return found

    def _name(self, rows: Iterable[Any]) -> None:
        ids = [self.ids_of(row) for row in rows]
        accounts = {row.public_id: row for row in Account.objects.filter(public_id__in={one for one, _key in ids})}
        keys = {row.public_id: row for row in ApiKey.objects.filter(public_id__in={key for _one, key in ids if key})}
        for row, (account_id, key_id) in zip(rows, ids, strict=True):
            row.named_account, row.named_key = accounts.get(account_id), keys.get(key_id)

    @admin.display(description=gettext_lazy("account"))
    def account_of_it(self, row: Any) -> str:
        account_id = self.ids_of(row)[0]
        account = getattr(row, "named_account", None)
        return account_link(account, account_id) if account is not None else account_id or "–"

    def key_of_it(self, row: Any, otherwise: str) -> str:
        key = getattr(row, "named_key", None)
        if key is None:
            return otherwise or "–"
        address = reverse("admin:accounts_apikey_change", args=[key.pk])
        return format_html('<a href="{}">{}</a><span class="below mono">{}</span>', address, key.name, key.public_id)


@admin.register(AuditEvent)
class AuditEventAdmin(NamingAdmin):
    list_display = ("words", "happened", "actor", "account_of_it", "subject_of_it", "address")
    happened = moment("at", gettext_lazy("when"))
    sortable_by = ("happened",)  # other orders would sort the whole table
    list_filter = (by_time("at"), ActFilter)
    search_fields = ("=actor", "^act", "=account", "=subject", "=address")
    search_help_text = gettext_lazy(
        "Who did it, the beginning of an act such as key.rev, the id of an account or a key, or an address."
    )

    def ids_of(self, row: AuditEvent) -> tuple[str, str]:
        return row.account, row.subject if row.act.startswith("key.") else ""

    @admin.display(description=gettext_lazy("act"), ordering="act")
    def words(self, event: AuditEvent) -> str:
        return format_html('{}<span class="below mono">{}</span>', words_of(event), event.act)

    @admin.display(description=gettext_lazy("subject"))
    def subject_of_it(self, event: AuditEvent) -> str:
        return self.key_of_it(event, "" if event.subject == event.account else event.subject)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        size, days = table_bytes(), settings.AUDIT_KEEP_DAYS
        words = _("Its size is unknown") if size is None else _("The table takes up %(size)s")
        if days:
            kept = ngettext("rows are kept for %(days)d day", "rows are kept for %(days)d days", days) % {"days": days}
        else:
            kept = _("rows are kept forever (AUTHSVC_AUDIT_KEEP)")
        subtitle = "; ".join((words % {"size": filesizeformat(size or 0)}, f"{kept}."))
        return super().changelist_view(request, {"subtitle": subtitle, **(extra_context or {})})


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "account_of_it", "role", "invited_by", "sent", "expires", "accepted", "withdrawn")
    sent, expires = (
        moment("sent_at", gettext_lazy("sent"), may_be_never=True),
        moment("expires_at", gettext_lazy("expires"), may_be_never=True),
    )
    accepted = moment("accepted_at", gettext_lazy("accepted"), may_be_never=True)
    withdrawn = moment("withdrawn_at", gettext_lazy("withdrawn"), may_be_never=True)
    readonly_fields = ("created_by", "made_with")
    list_select_related = ("account",)
    search_fields = ("email", "account__name", "=account__public_id")

    @admin.display(description=gettext_lazy("account"), ordering="account__name")
    def account_of_it(self, invitation: Invitation) -> str:
        return account_link(invitation.account, invitation.account.public_id)


@admin.register(KeptAnswer)
class KeptAnswerAdmin(NamingAdmin):
    fields = ("caller", "account", "subject", "status", "created_at")
    list_display = ("caller", "account_of_it", "subject_of_it", "status", "created")
    created = moment("created_at", gettext_lazy("kept since"))
    search_fields = ("=subject", "=account")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # Filtering by hidden fields in the URL would reveal them character by character.
        return lookup.partition("__")[0] in self.fields

    def ids_of(self, row: KeptAnswer) -> tuple[str, str]:
        return row.account, row.subject

    @admin.display(description=gettext_lazy("key"))
    def subject_of_it(self, row: KeptAnswer) -> str:
        return self.key_of_it(row, row.subject)


@admin.register(OutboxRow)
class OutboxRowAdmin(NamingAdmin):
    list_display = ("part_of_it", "account_of_it", "subject_of_it", "version", "waiting")
    waiting = moment("created_at", gettext_lazy("waiting since"))
    list_filter = ("part",)
    search_fields = ("=subject",)
    search_help_text = gettext_lazy("The id of a key or an account.")

    def ids_of(self, row: OutboxRow) -> tuple[str, str]:
        return row.subject[:8], row.subject if row.part == OutboxRow.Part.KEY else ""

    @admin.display(description=gettext_lazy("part"), ordering="part")
    def part_of_it(self, row: OutboxRow) -> str:
        return {"key": _("Key"), "account": _("Account")}.get(row.part, _("Catalogue"))

    @admin.display(description=gettext_lazy("key"))
    def subject_of_it(self, row: OutboxRow) -> str:
        return self.key_of_it(row, row.subject if row.part == OutboxRow.Part.KEY else "")


@admin.register(SeenStore)
class SeenStoreAdmin(ReadOnlyAdmin):
    list_display = ("identity",)
    search_fields = ("identity",)
