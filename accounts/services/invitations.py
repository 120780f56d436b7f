"""Invitations to accounts by mail. The link in the latest mail can be used once, by anyone who has it."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext

from accounts import keys
from accounts.authority import check_role
from accounts.facts.publish import models_base
from accounts.models import Account, Invitation, Membership, User
from accounts.refused import Refused
from accounts.services.acts import Actor, record_act
from accounts.services.invitation_mail import in_words
from accounts.services.roles import set_role
from runtime.measures import MAILS

log = logging.getLogger(__name__)

GOOD_FOR = timedelta(days=7)
MOST_OPEN = 10
_SALT = "accounts.invitation"


def invite(account: Account, *, email: str, role: str, actor: Actor) -> Invitation:
    """Create an invitation and send its mail. `sent_at` stays empty if the mail could not be sent."""
    email = email.strip()
    with transaction.atomic():
        account.refresh_from_db(from_queryset=Account._base_manager.select_for_update())
        if account.closed_at:
            raise Refused(gettext("The account %(account)s is closed. Nobody can join it.") % {"account": account})
        check_role(actor, account, None, role)
        if account.memberships.filter(user__email__iexact=email).exists():
            raise Refused(gettext("%(email)s is already a member.") % {"email": email})
        for old in account.invitations.filter(email__iexact=email, accepted_at=None, withdrawn_at=None):
            if old.is_open(timezone.now()) and old.sent_at:  # if its mail failed, the same request sends a new one
                words = gettext(
                    "%(email)s has already been invited (%(id)s). Send that invitation again, or withdraw it."
                )
                raise Refused(words % {"email": email, "id": old.public_id})
            old.withdrawn_at = min(old.expires_at, timezone.now())
            old.save(update_fields=["withdrawn_at"])
        _keep_few_open(account)
        row = Invitation(
            public_id=keys.new_key_id(account.public_id),
            account=account,
            email=email,
            role=role,
            invited_by=actor.name,
            created_by=actor.user,
            made_with=actor.made_with,
            expires_at=timezone.now() + GOOD_FOR,
        )
        row.full_clean()
        row.save()
        _write_down(row, "invitation.create", actor)
    _send(row)
    return row


def resend(row: Invitation, *, actor: Actor) -> None:
    """Send the mail again with a new link that is valid for a week. The previous link stops working.

    From now on the sender of this mail is the one who gives the role, and whose leaving withdraws the invitation.
    """
    with transaction.atomic():
        _lock_account(row)
        _lock_open(row, or_expired=True)
        check_role(actor, row.account, None, row.role)
        if not row.is_open(timezone.now()):  # it is about to become open again
            row.account.refresh_from_db(from_queryset=Account._base_manager.select_for_update())
            _keep_few_open(row.account)
        row.sendings += 1
        row.sent_at, row.expires_at = None, timezone.now() + GOOD_FOR
        row.invited_by, row.created_by, row.made_with = actor.name, actor.user, actor.made_with
        row.save(update_fields=["sendings", "sent_at", "expires_at", "invited_by", "created_by", "made_with"])
        _write_down(row, "invitation.resend", actor)
    _send(row)


def withdraw(row: Invitation, *, actor: Actor) -> None:
    """Withdraw the invitation: its link stops working. Repeatable."""
    with transaction.atomic():
        _lock_account(row)
        _lock(row)
        check_role(actor, row.account, row.role, None)
        if row.accepted_at:
            words = gettext("%(email)s has already joined. Remove the member instead.")
            raise Refused(words % {"email": row.email})
        if row.withdrawn_at is None:
            row.withdrawn_at = timezone.now()
            row.save(update_fields=["withdrawn_at"])
            _write_down(row, "invitation.withdraw", actor)


def accept(row: Invitation, user: User, *, actor: Actor) -> None:
    """Make the person a member. An existing member keeps their role."""
    with transaction.atomic():
        _lock_account(row)
        _lock_open(row, or_expired=False)
        if not Membership.objects.filter(account=row.account, user=user).exists():
            set_role(row.account, user, row.role, actor=actor)
        row.accepted_at, row.accepted_by = timezone.now(), user
        row.save(update_fields=["accepted_at", "accepted_by"])
        _write_down(row, "invitation.accept", actor)


def link_to(row: Invitation) -> str:
    token = signing.dumps([row.public_id, row.sendings], salt=_SALT)
    return settings.CONSOLE_URL + reverse("invitation", args=[token])


def behind(token: str) -> Invitation | None:
    """The invitation behind a link's token, if it can still be accepted."""
    try:
        public_id, sendings = signing.loads(token, salt=_SALT)
    except signing.BadSignature:
        return None
    row = Invitation.objects.select_related("account__plan").filter(public_id=public_id, sendings=sendings).first()
    if row is None or not row.is_open(timezone.now()) or row.account.closed_at:
        return None
    return row


def _lock_account(row: Invitation) -> None:
    """Lock the account before the invitation, like everybody else: taking a role away also withdraws invitations."""
    models_base(Account).select_for_update().get(pk=row.account_id)


def _lock(row: Invitation) -> None:
    try:
        row.refresh_from_db(from_queryset=Invitation.objects.select_for_update())
    except Invitation.DoesNotExist as error:  # the account was erased concurrently
        raise Refused(gettext("This invitation no longer exists: the account was closed.")) from error


def _lock_open(row: Invitation, *, or_expired: bool) -> None:
    _lock(row)
    if row.accepted_at or row.withdrawn_at or not (or_expired or row.is_open(timezone.now())):
        raise Refused(gettext("This invitation was accepted or withdrawn, or has expired."))


def _keep_few_open(account: Account) -> None:
    """The caller holds the account's lock."""
    still_open = account.invitations.filter(accepted_at=None, withdrawn_at=None, expires_at__gt=timezone.now())
    if still_open.count() >= MOST_OPEN:
        words = gettext(
            "The account %(account)s has %(most)d open invitations. Withdraw one, or wait until one is used."
        )
        raise Refused(words % {"account": account, "most": MOST_OPEN})


def _send(row: Invitation) -> None:
    """Send the mail after the row was saved. A failure is visible in the row and the log."""
    subject, text = in_words(row, link_to(row))
    try:
        EmailMessage(subject, text, to=[row.email]).send()
    except Exception as error:
        # smtplib raises many kinds of errors. The invitation is saved anyway; `sent_at` shows that no mail was sent.
        log.error("the mail of invitation %s could not be sent (%s)", row.public_id, type(error).__name__)
        MAILS.count_in_a_thread("failed")
        return
    MAILS.count_in_a_thread("sent")
    row.sent_at = timezone.now()
    row.save(update_fields=["sent_at"])


def _write_down(row: Invitation, act: str, actor: Actor) -> None:
    record_act(actor, act, row.public_id, account=row.account, after={"email": row.email, "role": row.role})
