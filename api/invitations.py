"""Invitations to an account, by mail."""

from __future__ import annotations

from django.http import Http404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authority import check_role
from accounts.models import Account, Invitation, InvitationQuerySet, Membership
from accounts.services.invitations import invite, resend, withdraw
from api.base.access import Action
from api.base.fields import Input, Moment, Output
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View, count_write, take_from
from api.members import CHANGING_MEMBERS, ROLES
from store.throttles import INVITATIONS, MAILS_TO, mailbox


class InvitationQuery(PageQuery):
    status = serializers.ChoiceField(
        choices=Invitation.State.values, required=False, help_text="Only invitations with this status."
    )
    order = serializers.ChoiceField(choices=("-created", "created"), default="-created")


class InvitationIn(Input):
    example = {"email": "grace@example.org", "role": "member"}

    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=ROLES, default=Membership.Role.MEMBER.value)


class InvitationOut(Output):
    example = {
        "id": "T5c6tKxKw9HdL4uE",
        "email": "grace@example.org",
        "role": "member",
        "status": "pending",
        "invited_by": "ada",
        "created_at": "2030-11-23T06:20:00Z",
        "sent_at": "2030-11-23T06:20:01Z",
        "expires_at": "2030-11-30T06:20:00Z",
        "accepted_at": None,
        "accepted_by": None,
        "withdrawn_at": None,
    }

    id = serializers.CharField(source="public_id")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=ROLES)
    status = serializers.ChoiceField(choices=Invitation.State.values, source="current_state")
    invited_by = serializers.CharField(help_text="Who sent the latest mail: a username, a credential or a command.")
    created_at = Moment()
    sent_at = Moment(allow_null=True, help_text="Null: the mail could not be sent. Send it again.")
    expires_at = Moment()
    accepted_at = Moment(allow_null=True)
    accepted_by = serializers.CharField(
        source="accepted_by.username", allow_null=True, help_text="Who joined. Null also if that user was deleted."
    )
    withdrawn_at = Moment(allow_null=True)


@at("accounts/<account_id:account>/invitations/", name="invitations")
class Invitations(View):
    @Operation(
        id="list_invitations",
        tag="members",
        who=(Action.READ_MEMBERS,),
        query=InvitationQuery,
        answer=InvitationOut,
        is_list=True,
    )
    def get(self, request: Request, account: str) -> Response:
        """List invitations, newest first. Those that were accepted, were withdrawn or have expired stay for 90 days."""
        query = self.read_query()
        rows = invitations_shown(self.find_account(account))
        if "status" in query:
            rows = rows.in_state(query["status"], timezone.now())
        return self.page(rows, query["order"])

    @Operation(
        id="invite",
        tag="members",
        who=CHANGING_MEMBERS,
        body=InvitationIn,
        status=201,
        answer=InvitationOut,
        may_conflict=True,
    )
    def post(self, request: Request, account: str) -> Response:
        """Invite somebody by mail. A person can give a role up to their own, a program `member` or `viewer`. `sent_at`
        is null if the mail could not be sent: send it again later."""
        actor = self.caller.actor
        owner = self.find_account(account)
        wanted = self.read_body()
        check_role(actor, owner, None, wanted["role"])
        count_mail(owner, wanted["email"])
        return self.show(invite(owner, email=wanted["email"], role=wanted["role"], actor=actor))


@at("accounts/<account_id:account>/invitations/<public_id:id>/", name="invitation-row")
class OneInvitation(View):
    @Operation(id="get_invitation", tag="members", who=(Action.READ_MEMBERS,), answer=InvitationOut)
    def get(self, request: Request, account: str, id: str) -> Response:
        """Get an invitation."""
        return self.show(_invitation(self.find_account(account), id))

    @Operation(id="withdraw_invitation", tag="members", who=CHANGING_MEMBERS, status=204, may_conflict=True)
    def delete(self, request: Request, account: str, id: str) -> Response:
        """Withdraw an invitation. Its link stops working."""
        owner = self.find_account(account)
        row = _invitation(owner, id)
        check_role(self.caller.actor, owner, row.role, None)
        count_write(self.caller, owner)
        withdraw(row, actor=self.caller.actor)
        return Response(status=204)


@at("accounts/<account_id:account>/invitations/<public_id:id>/resend/", name="resend")
class Resend(View):
    @Operation(id="resend_invitation", tag="members", who=CHANGING_MEMBERS, answer=InvitationOut, may_conflict=True)
    def post(self, request: Request, account: str, id: str) -> Response:
        """Send the mail again. The new link is valid for a week; the previous one stops working."""
        owner = self.find_account(account)
        row = _invitation(owner, id)
        check_role(self.caller.actor, owner, None, row.role)
        count_mail(owner, row.email)
        resend(row, actor=self.caller.actor)
        return self.show(row)


def invitations_shown(account: Account) -> InvitationQuerySet:
    """With what InvitationOut shows."""
    return Invitation.objects.filter(account=account).select_related("accepted_by")


def _invitation(account: Account, id: str) -> Invitation:
    row = account.invitations.filter(public_id=id).first()
    if row is None:
        raise Http404
    return row


def count_mail(account: Account, email: str) -> None:
    """Count a mail from the account and one to the recipient, whatever becomes of the invitation."""
    take_from(INVITATIONS, account.public_id)
    take_from(MAILS_TO, mailbox(email))
