"""What the buttons of the team's pages do. Each takes a POST and leads back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from accounts.authority import Action, check_role
from accounts.models import Account, Membership
from accounts.refused import Refused
from accounts.services.invitations import invite, resend, withdraw
from accounts.services.members import Change, Wish, change_member
from console.frame import TooMany, count_write, page
from console.seat import Seat
from console.team.pages import find_invitation, find_member
from store.throttles import INVITATIONS, MAILS_TO, ThrottleUnavailable, mailbox

REVOKE, KEEP_WORKING = "revoke", "keep"


def _act(act: Callable[..., str]) -> Callable[..., HttpResponseBase]:
    """An act on people: the services say who may, and what they refuse becomes a notice. Returns the page's notice."""

    @page(Action.READ_MEMBERS)
    @require_POST
    @wraps(act)
    def answer(request: HttpRequest, seat: Seat, **parts: Any) -> HttpResponse:
        try:
            messages.success(request, act(request, seat, **parts))
        except Refused as error:
            messages.error(request, str(error))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        except ThrottleUnavailable:
            messages.error(request, gettext("No email can be sent at the moment. Try again in a moment."))
        return redirect("console_team", seat.account.public_id)

    return answer


def _count_mail(account: Account, email: str) -> None:
    """Count a mail of the account and one to the person. Raises TooMany or ThrottleUnavailable."""
    for throttle, who in ((INVITATIONS, account.public_id), (MAILS_TO, mailbox(email))):
        if wait := throttle.wait(who):
            raise TooMany(wait)


@_act
def invite_person(request: HttpRequest, seat: Seat) -> str:
    email, role = request.POST.get("email", "").strip(), request.POST.get("role", "")
    validate_email(email)
    if role not in Membership.Role.values:
        raise Refused(gettext("Choose a role."))
    check_role(seat.actor, seat.account, None, role)
    _count_mail(seat.account, email)
    return _sent(invite(seat.account, email=email, role=role, actor=seat.actor).sent_at, email)


@_act
def send_again(request: HttpRequest, seat: Seat, invitation_id: str) -> str:
    row = find_invitation(seat, invitation_id)
    check_role(seat.actor, seat.account, None, row.role)
    _count_mail(seat.account, row.email)
    resend(row, actor=seat.actor)
    return _sent(row.sent_at, row.email)


def _sent(sent_at: object, email: str) -> str:
    if sent_at is None:
        words = gettext("%(email)s is invited, but the email could not be sent. Send it again later.")
        raise Refused(words % {"email": email})
    return gettext("%(email)s was sent a link that works for a week.") % {"email": email}


@_act
def take_back(request: HttpRequest, seat: Seat, invitation_id: str) -> str:
    row = find_invitation(seat, invitation_id)
    check_role(seat.actor, seat.account, row.role, None)
    count_write(seat.account)
    withdraw(row, actor=seat.actor)
    return gettext("The invitation of %(email)s was withdrawn. Its link no longer works.") % {"email": row.email}


@_act
def give_role(request: HttpRequest, seat: Seat, member_id: str) -> str:
    row, role = find_member(seat, member_id), request.POST.get("role", "")
    if role not in Membership.Role.values:
        raise Refused(gettext("Choose a role."))
    check_role(seat.actor, seat.account, row.role, role)
    count_write(seat.account)
    left = change_member(row, role, actor=seat.actor).left
    words = [gettext("%(name)s now has the role “%(role)s”.") % {"name": row.user.get_username(), "role": _title(role)}]
    if left.revoked:
        ended = gettext("Management keys that the new role does not allow were revoked: %(count)d.")
        words.append(ended % {"count": len(left.revoked)})
    return " ".join(words)


@page(Action.READ_MEMBERS)
@require_POST
def remove(request: HttpRequest, seat: Seat, member_id: str) -> HttpResponse:
    """Remove somebody, or leave: then there is no page of the account to come back to."""
    row = find_member(seat, member_id)
    name, is_self = row.user.get_username(), row.user_id == seat.user.pk
    try:
        if not is_self:
            check_role(seat.actor, seat.account, row.role, None)
        count_write(seat.account)
        wish = Wish(
            keep_management_keys=request.POST.get("management_keys") == KEEP_WORKING,
            revoke_keys=request.POST.get("keys") == REVOKE,
        )
        change = change_member(row, None, actor=seat.actor, wish=wish)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("console_team", seat.account.public_id)
    if is_self:
        messages.success(request, gettext("You have left %(account)s.") % {"account": seat.account.name})
        return redirect("console")
    words = gettext("%(name)s no longer belongs to the account.") % {"name": name}
    messages.success(request, " ".join([words, *_ended(change)]))
    return redirect("console_team", seat.account.public_id)


def _ended(change: Change) -> Iterator[str]:
    """What ended together with somebody's membership, a sentence each."""
    if change.keys_are_revoked:
        count = len(change.publications)
        yield ngettext("%(count)d key was revoked.", "%(count)d keys were revoked.", count) % {"count": count}
    if count := len(change.left.revoked):
        said = ngettext("%(count)d management key was revoked.", "%(count)d management keys were revoked.", count)
        yield said % {"count": count}
    if count := len(change.left.kept):
        said = ngettext("%(count)d management key keeps working.", "%(count)d management keys keep working.", count)
        yield said % {"count": count}


def _title(role: str) -> str:
    return str(Membership.Role(role).label)
