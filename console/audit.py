"""The audit log of an account: who did what, newest first."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_safe

from accounts.authority import Action
from accounts.models import Account, ApiKey, AuditEvent
from console.audit_search import AuditSearch
from console.audit_words import changes_of
from console.frame import page, show
from console.seat import Seat

ON_A_PAGE = 50
MOST_NAMED = 500  # keys that a search by name considers
KINDS = {
    "key.": gettext_lazy("Keys"),
    "account.": gettext_lazy("Account and people"),
    "invitation.": gettext_lazy("Invitations"),
    "management_key.": gettext_lazy("Management keys"),
}

ACTS = {
    "account.create": gettext_lazy("Created the account"),
    "account.close": gettext_lazy("Closed the account"),
    "account.reopen": gettext_lazy("Reopened the account"),
    "account.suspend": gettext_lazy("Suspended the account"),
    "account.resume": gettext_lazy("Resumed the account"),
    "account.rename": gettext_lazy("Renamed the account"),
    "account.move": gettext_lazy("Changed the plan"),
    "account.change": gettext_lazy("Changed the account"),
    "account.override": gettext_lazy("Changed a limit of the account"),
    "account.cap_keys": gettext_lazy("Changed the most keys"),
    "account.external_id": gettext_lazy("Changed the account’s external id"),
    "account.member": gettext_lazy("Changed who belongs to the account"),
    "invitation.accept": gettext_lazy("Accepted an invitation"),
    "invitation.create": gettext_lazy("Sent an invitation"),
    "invitation.resend": gettext_lazy("Resent an invitation"),
    "invitation.withdraw": gettext_lazy("Withdrew an invitation"),
    "key.issue": gettext_lazy("Created a key"),
    "key.import": gettext_lazy("Imported a key"),
    "key.change": gettext_lazy("Changed a key"),
    "key.rotate": gettext_lazy("Rotated a key"),
    "key.end_rotation": gettext_lazy("Ended an old secret"),
    "key.pause": gettext_lazy("Paused a key"),
    "key.resume": gettext_lazy("Resumed a key"),
    "key.revoke": gettext_lazy("Revoked a key"),
    "management_key.revoke": gettext_lazy("Revoked a management key"),
    "management_key.issue": gettext_lazy("Created a management key"),
    "catalogue.change": gettext_lazy("Changed the catalogue"),
    "group.create": gettext_lazy("Created a staff group"),
    "group.change": gettext_lazy("Changed a staff group"),
    "group.delete": gettext_lazy("Deleted a staff group"),
    "operator_token.issue": gettext_lazy("Created an operator token"),
    "operator_token.revoke": gettext_lazy("Revoked an operator token"),
    "user.create": gettext_lazy("Created a person"),
    "user.change": gettext_lazy("Changed a person"),
    "user.delete": gettext_lazy("Deleted a person"),
    "user.email": gettext_lazy("Changed an email address"),
    "user.email_change": gettext_lazy("Asked for a different email address"),
    "user.email_confirm": gettext_lazy("Confirmed an email address"),
    "user.first_operator": gettext_lazy("Became the first operator"),
    "user.language_change": gettext_lazy("Chose a language"),
    "user.password_change": gettext_lazy("Changed a password"),
    "user.password_reset": gettext_lazy("Reset a password"),
    "user.password_reset_asked": gettext_lazy("Asked for a new password"),
    "user.second_factor_add": gettext_lazy("Added a second factor"),
    "user.second_factor_remove": gettext_lazy("Removed a second factor"),
    "user.second_factor_reset": gettext_lazy("Made new recovery codes"),
    "user.session_end": gettext_lazy("Ended a session"),
    "user.sign_in": gettext_lazy("Signed in"),
    "user.sign_in_failed": gettext_lazy("Failed to sign in"),
    "user.sign_out": gettext_lazy("Signed out"),
    "user.sign_up": gettext_lazy("Signed up"),
    "user.throttled": gettext_lazy("Was slowed down"),
    "user.username": gettext_lazy("Changed a user name"),
    "import.receive": gettext_lazy("Received keys to import"),
    "import.end": gettext_lazy("Ended an import of keys"),
}


@page(Action.READ_AUDIT)
@require_safe
def audit(request: HttpRequest, seat: Seat) -> HttpResponse:
    """One page. The log only grows, so a page begins below an event and costs the same however far back it is."""
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else ""
    rows: QuerySet[AuditEvent] = AuditEvent.objects.filter(account=seat.account.public_id)
    if kind:
        rows = rows.filter(act__startswith=kind)
    search = AuditSearch.read(request.GET)
    rows = search.narrow(rows, acts=_acts_called(search.text), subjects=_keys_called(seat.account, search.text))
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-id")[: ON_A_PAGE + 1])
    events = found[:ON_A_PAGE]
    names = _names(seat.account, events)
    context = {
        "events": [
            {
                "row": row,
                "words": words_of(row),
                "changes": changes_of(row.before, row.after),
                "key": names.get(row.subject),
            }
            for row in events
        ],
        "kind": kind,
        "kinds": [("", gettext("Everything")), *KINDS.items()],
        "search": search,
        "people": seat.account.memberships.values_list("user__username", flat=True).order_by("user__username"),
        "next": events[-1].pk if len(found) > ON_A_PAGE else None,
        "is_first": not before,
    }
    return show(request, seat, "audit/audit", context)


def words_of(event: AuditEvent) -> str:
    """key.end_rotation → Ended an old secret; an act that has no words yet: billing.send → Billing: send"""
    if event.act in ACTS:
        return str(ACTS[event.act])
    kind, _, act = event.act.partition(".")
    return f"{kind.replace('_', ' ').capitalize()}: {act.replace('_', ' ').replace('.', ' ')}"


def _acts_called(text: str) -> list[str]:
    """The acts whose words, as the reader sees them, contain this text."""
    return [act for act, words in ACTS.items() if text.lower() in str(words).lower()] if text else []


def _keys_called(account: Account, text: str) -> QuerySet[ApiKey, str]:
    """The ids of keys whose name contains this text, as far as one look takes."""
    named = ApiKey.objects.filter(account=account, name__icontains=text) if text else ApiKey.objects.none()
    return named.order_by("-id").values_list("public_id", flat=True)[:MOST_NAMED]


def _names(account: Account, events: list[AuditEvent]) -> dict[str, str]:
    """What the keys among the subjects are called today."""
    ids = {event.subject for event in events if event.act.startswith("key.")}
    return dict(ApiKey.objects.filter(account=account, public_id__in=ids).values_list("public_id", "name"))
