"""The people of an account, and who is invited to it."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.access import Action, Caller, find_account, role_in
from accounts.api.accounts import require_operator
from accounts.api.fields import AnySerializer, Moment, Strict, Text
from accounts.api.paging import PageQuery, Pages, order_of
from accounts.api.resource import View, body_of, count_write, query_of, take_from
from accounts.invitations import invite, resend, withdraw
from accounts.models import Account, Invitation, Membership, User
from accounts.services import change_member, set_role
from accounts.throttles import INVITATIONS, MAILS_TO, mailbox

ROLES = Membership.Role.values


class MemberPages(Pages):
    orders = {"created": "id"}


class Members(View):
    pagination_class = MemberPages

    def get(self, request: Request, account: str) -> Response:
        """The people of the account, in the order in which they came."""
        query = query_of(request, MemberQuery)
        owner = find_account(self.caller, Action.READ_MEMBERS, account)
        rows = _members_of(owner)
        if "role" in query:
            rows = rows.filter(role=query["role"])
        return self.page(rows, MemberOut, order_of(query, "created"))

    def post(self, request: Request, account: str) -> Response:
        """Add somebody who has a user already: for operators. Everybody else invites."""
        require_operator(self.caller, Action.PROVISION_ACCOUNT)
        wanted = body_of(request, MemberIn)
        owner = find_account(self.caller, Action.PROVISION_ACCOUNT, account)
        try:
            user = User.objects.get_by_natural_key(wanted["username"])
        except User.DoesNotExist as error:
            text = "There is no such user: invite the person by mail."
            raise serializers.ValidationError({"username": text}) from error
        count_write(self.caller, owner)
        if member := _members_of(owner).filter(user=user).first():
            change_member(member, wanted["role"], actor=self.caller.actor)  # the last owner stays one here, too
        else:
            set_role(owner, user, wanted["role"], actor=self.caller.actor)
        return Response(MemberOut(_members_of(owner).get(user=user)).data, status=201)


class Member(View):
    def get(self, request: Request, account: str, id: str) -> Response:
        """One member."""
        return Response(MemberOut(_member(find_account(self.caller, Action.READ_MEMBERS, account), id)).data)

    def patch(self, request: Request, account: str, id: str) -> Response:
        """Give a member another role. The last owner stays one."""
        caller = self.caller
        owner = find_account(caller, Action.WRITE_MEMBERS, account)
        member, role = _member(owner, id), body_of(request, RoleIn)["role"]
        _may_touch(caller, owner, member.role, role)
        count_write(caller, owner)
        change_member(member, role, actor=caller.actor)
        return Response(MemberOut(_member(owner, id)).data)

    def delete(self, request: Request, account: str, id: str) -> Response:
        """Remove a member, or leave. The last owner stays."""
        caller = self.caller
        owner = find_account(caller, Action.READ_MEMBERS, account)
        member = _member(owner, id)
        if caller.user is None or member.user_id != caller.user.pk:
            if not caller.may(Action.WRITE_MEMBERS, role_in(owner)):
                raise PermissionDenied
            _may_touch(caller, owner, member.role)
        count_write(caller, owner)
        change_member(member, None, actor=caller.actor)
        return Response(status=204)


class Invitations(View):
    pagination_class = MemberPages

    def get(self, request: Request, account: str) -> Response:
        """Who is invited, newest first; also those that joined, were withdrawn or let it expire."""
        query = query_of(request, InvitationQuery)
        rows = find_account(self.caller, Action.READ_MEMBERS, account).invitations.all()
        return self.page(rows, InvitationOut, order_of(query))

    def post(self, request: Request, account: str) -> Response:
        """Invite somebody by mail. `sent_at` is null if the mail could not be sent: send it again later."""
        caller = self.caller
        owner = find_account(caller, Action.WRITE_MEMBERS, account)
        wanted = body_of(request, InvitationIn)
        _may_touch(caller, owner, wanted["role"])
        _take_a_mail(owner, wanted["email"])
        row = invite(owner, email=wanted["email"], role=wanted["role"], actor=caller.actor)
        return Response(InvitationOut(row).data, status=201)


class OneInvitation(View):
    def get(self, request: Request, account: str, id: str) -> Response:
        """One invitation."""
        return Response(InvitationOut(_invitation(find_account(self.caller, Action.READ_MEMBERS, account), id)).data)

    def delete(self, request: Request, account: str, id: str) -> Response:
        """Withdraw an invitation: its link is good no more."""
        owner = find_account(self.caller, Action.WRITE_MEMBERS, account)
        row = _invitation(owner, id)
        _may_touch(self.caller, owner, row.role)
        count_write(self.caller, owner)
        withdraw(row, actor=self.caller.actor)
        return Response(status=204)


class Resend(View):
    def post(self, request: Request, account: str, id: str) -> Response:
        """Send the mail again, with a link that is good for another week; the one before is good no more."""
        owner = find_account(self.caller, Action.WRITE_MEMBERS, account)
        row = _invitation(owner, id)
        _may_touch(self.caller, owner, row.role)
        _take_a_mail(owner, row.email)
        resend(row, actor=self.caller.actor)
        return Response(InvitationOut(row).data)


def _members_of(account: Account) -> QuerySet[Membership]:
    return account.memberships.select_related("user")


def _member(account: Account, id: str) -> Membership:
    member = _members_of(account).filter(public_id=id).first()
    if member is None:
        raise Http404
    return member


def _invitation(account: Account, id: str) -> Invitation:
    row = account.invitations.filter(public_id=id).first()
    if row is None:
        raise Http404
    return row


def _take_a_mail(account: Account, email: str) -> None:
    """Count a mail of the account and one to the person, whatever becomes of the invitation."""
    take_from(INVITATIONS, account.public_id)
    take_from(MAILS_TO, mailbox(email))


def _may_touch(caller: Caller, account: Account, *roles: str) -> None:
    """Owners are made, changed and removed by owners alone."""
    if Membership.Role.OWNER in roles and not caller.may(Action.MAKE_OWNERS, role_in(account)):
        raise PermissionDenied


class MemberQuery(PageQuery):
    role = serializers.ChoiceField(choices=ROLES, required=False, help_text="Only those with this role.")
    order = serializers.ChoiceField(choices=("created", "-created"), default="created")


class InvitationQuery(PageQuery):
    order = serializers.ChoiceField(choices=("-created", "created"), default="-created")


class RoleIn(Strict):
    role = serializers.ChoiceField(choices=ROLES)


class MemberIn(RoleIn):
    username = Text(max_length=150)


class InvitationIn(Strict):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=ROLES, default=Membership.Role.MEMBER.value)


class MemberOut(AnySerializer):
    id = serializers.CharField(source="public_id")
    username = serializers.CharField(source="user.username")
    email = serializers.CharField(source="user.email", allow_blank=True)
    role = serializers.ChoiceField(choices=ROLES)


class InvitationOut(AnySerializer):
    id = serializers.CharField(source="public_id")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=ROLES)
    invited_by = serializers.CharField()
    created_at = Moment()
    sent_at = Moment(allow_null=True, help_text="Null: the mail could not be sent. Send it again.")
    expires_at = Moment()
    accepted_at = Moment(allow_null=True)
    withdrawn_at = Moment(allow_null=True)
