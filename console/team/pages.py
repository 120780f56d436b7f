"""The people of an account, who is invited, and the page for changing or removing one of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import Case, When
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_safe

from accounts.authority import RANKS, TO_CHANGE, Action, is_lower
from accounts.models import Account, Invitation, Membership
from accounts.services.invitations import MOST_OPEN
from accounts.services.outgrown import credentials_behind, keys_made_by
from console.frame import forbidden, page, show
from console.seat import Seat
from console.team.management_keys import not_revoked, shown_on_team

ON_A_PAGE = 50
MOST_NAMED = 20
RECENT = timedelta(days=30)  # after an invitation has, or would have, expired
State = Invitation.State
_TONES = {State.PENDING: "accent", State.ACCEPTED: "good"}
ROLES = {
    "owner": gettext_lazy("Everything, including other owners and closing the account"),
    "admin": gettext_lazy("All keys, the audit log, and people other than owners"),
    "member": gettext_lazy("Creates keys, and changes the ones they created"),
    "viewer": gettext_lazy("Sees keys, usage and people, and changes nothing"),
}


class Invited(NamedTuple):
    row: Invitation
    words: str
    tone: str
    may_be_resent: bool
    may_be_withdrawn: bool


@page(Action.READ_MEMBERS)
@require_safe
def team(request: HttpRequest, seat: Seat) -> HttpResponse:
    rows = seat.account.memberships.select_related("user").order_by("id")
    members = Paginator(rows, ON_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": members,
        "members": [(one, may_touch(seat, one.role) or one.user_id == seat.user.pk) for one in members],
        "invitations": _invitations(seat.account, timezone.now()),
        "roles": in_plain_words(ROLES),
        **to_invite(seat),
        **shown_on_team(seat),
    }
    return show(request, seat, "team/team", context)


@page(Action.READ_MEMBERS)
@require_safe
def member(request: HttpRequest, seat: Seat, member_id: str) -> HttpResponse:
    """Changing a role, or removing somebody, with what they made."""
    row = find_member(seat, member_id)
    is_self = row.user_id == seat.user.pk
    if not is_self and not may_touch(seat, row.role):
        return forbidden(request, seat)
    behind = credentials_behind(row.user)
    made = list(keys_made_by(row.user, behind, seat.account)[: MOST_NAMED + 1])
    management = list(not_revoked(seat.account).filter(public_id__in=behind)[: MOST_NAMED + 1])
    context = {
        "member": row,
        "is_self": is_self,
        "may_change": may_touch(seat, row.role),
        "roles": in_plain_words(roles_to_give(seat)),
        "made": made[:MOST_NAMED],
        "made_more": len(made) > MOST_NAMED,
        "may_revoke": is_self or seat.may(Action.CHANGE_KEY),
        "management": management[:MOST_NAMED],
        "management_more": len(management) > MOST_NAMED,
        "may_keep_management": not is_self and seat.may(Action.WRITE_MANAGEMENT_KEYS),
    }
    return show(request, seat, "team/member", context)


def find_member(seat: Seat, public_id: str) -> Membership:
    row = seat.account.memberships.select_related("user").filter(public_id=public_id).first()
    if row is None:
        raise Http404
    return row


def find_invitation(seat: Seat, public_id: str) -> Invitation:
    row = seat.account.invitations.filter(public_id=public_id).first()
    if row is None:
        raise Http404
    row.account = seat.account
    return row


def may_touch(seat: Seat, role: str) -> bool:
    """Whether the person may change or remove somebody with this role."""
    return seat.may(TO_CHANGE[role])


def roles_to_give(seat: Seat) -> list[str]:
    """The highest first."""
    highest = seat.authority.highest_role
    return [role for role in reversed(RANKS) if highest is not None and not is_lower(highest, role)]


def in_plain_words(roles: Iterable[str]) -> list[tuple[str, str | Promise, str | Promise]]:
    """Each role with its title and what it may do."""
    return [(role, Membership.Role(role).label, ROLES[role]) for role in roles]


def to_invite(seat: Seat) -> dict[str, object]:
    """What the form for invitations needs."""
    roles = roles_to_give(seat) if not seat.account.closed_at else []
    return {
        "may_invite": bool(roles),
        "invitable": in_plain_words(roles),
        "has_mail": bool(settings.EMAIL_HOST) or not settings.EMAIL_BACKEND.endswith(".smtp.EmailBackend"),
        "most_open": MOST_OPEN,
    }


def _invitations(account: Account, now: datetime) -> list[Invited]:
    """First those that somebody may still accept, then what became of the newest others."""
    rows = account.invitations.filter(expires_at__gt=now - RECENT).select_related("accepted_by")
    first = Case(When(accepted_at=None, withdrawn_at=None, expires_at__gt=now, then=0), default=1)
    return [_invited(row, now) for row in rows.order_by(first, "-id")[:ON_A_PAGE]]


def _invited(row: Invitation, now: datetime) -> Invited:
    """An expired invitation can be sent again; withdrawing it would take nothing away."""
    state = row.state(now)
    is_pending = state == State.PENDING
    words, tone = str(state.label), _TONES.get(state, "")
    if is_pending and not row.sent_at:
        words, tone = gettext("Email not sent"), "bad"
    return Invited(row, words, tone, is_pending or (state == State.EXPIRED and not row.withdrawn_at), is_pending)
