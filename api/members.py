"""The people of an account, and who is invited to it."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authority import check_role
from accounts.models import Account, Invitation, Membership, User
from accounts.services.invitations import invite, resend, withdraw
from accounts.services.members import Change, Wish, change_member, put_member
from api.accounts import require_operator
from api.base.access import Action, find_account, role_in
from api.base.fields import AnySerializer, Moment, Strict, Text
from api.base.paging import PageQuery, Pages, order_of
from api.base.resource import View, body_of, count_write, query_of, take_from
from store.throttles import INVITATIONS, MAILS_TO, mailbox

ROLES = Membership.Role.values
KEEP, REVOKE = "keep", "revoke"


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
        """Add somebody who has a user already: for operators, and a token adds members and viewers. Everybody else
        invites."""
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
            put_member(owner, user, wanted["role"], actor=self.caller.actor)
        return Response(MemberOut(_members_of(owner).get(user=user)).data, status=201)


class Member(View):
    def get(self, request: Request, account: str, id: str) -> Response:
        """One member."""
        return Response(MemberOut(_member(find_account(self.caller, Action.READ_MEMBERS, account), id)).data)

    def patch(self, request: Request, account: str, id: str) -> Response:
        """Give a member another role: a person one up to their own, a program `member` or `viewer`. The last owner
        stays one. Management keys that could do more than the member may from now on are revoked, unless they are
        kept; invitations to a role that the member gives no more are withdrawn."""
        query = query_of(request, RoleQuery)
        owner = find_account(self.caller, Action.WRITE_MEMBERS, account)
        member, role = _member(owner, id), body_of(request, RoleIn)["role"]
        count_write(self.caller, owner)
        wish = Wish(keep_management_keys=query["management_keys"] == KEEP)
        change = change_member(member, role, actor=self.caller.actor, wish=wish)
        return Response({**MemberOut(_member(owner, id)).data, **_told(change)})

    def delete(self, request: Request, account: str, id: str) -> Response:
        """Remove a member, or leave. The last owner stays. Management keys that the person made are revoked, unless
        they are kept; keys for models go on working, unless they are to be revoked. The answer names both, and the
        invitations of theirs that are withdrawn."""
        caller, query = self.caller, query_of(request, RemovalQuery)
        owner = find_account(caller, Action.READ_MEMBERS, account)
        member = _member(owner, id)
        is_leaving = caller.user is not None and member.user_id == caller.user.pk
        if not is_leaving and not caller.may(Action.WRITE_MEMBERS, role_in(owner)):
            raise PermissionDenied
        count_write(caller, owner)
        wish = Wish(query["management_keys"] == KEEP, query["keys"] == REVOKE)
        change = change_member(member, None, actor=caller.actor, wish=wish)
        if not change.left:
            return Response(status=204)
        pending = {"state": "pending"} if change.is_pending else {}
        return Response({"id": id, **_told(change), **pending}, status=202 if pending else 200)


class Invitations(View):
    pagination_class = MemberPages

    def get(self, request: Request, account: str) -> Response:
        """Who is invited, newest first; also those that joined, were withdrawn or let it expire."""
        query = query_of(request, InvitationQuery)
        rows = find_account(self.caller, Action.READ_MEMBERS, account).invitations.all()
        return self.page(rows, InvitationOut, order_of(query))

    def post(self, request: Request, account: str) -> Response:
        """Invite somebody by mail: a person to a role up to their own, a program to `member` or `viewer`. `sent_at` is
        null if the mail could not be sent: send it again later."""
        caller = self.caller
        owner = find_account(caller, Action.WRITE_MEMBERS, account)
        wanted = body_of(request, InvitationIn)
        check_role(caller.actor, owner, None, wanted["role"])
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
        check_role(self.caller.actor, owner, row.role, None)
        count_write(self.caller, owner)
        withdraw(row, actor=self.caller.actor)
        return Response(status=204)


class Resend(View):
    def post(self, request: Request, account: str, id: str) -> Response:
        """Send the mail again, with a link that is good for another week; the one before is good no more."""
        owner = find_account(self.caller, Action.WRITE_MEMBERS, account)
        row = _invitation(owner, id)
        check_role(self.caller.actor, owner, None, row.role)
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


def _told(change: Change) -> dict[str, Any]:
    """What became of what the member had made."""
    left = change.left
    credentials = [(row, True) for row in left.revoked] + [(row, False) for row in left.kept]
    return {
        "management_keys": [{"id": row.public_id, "name": row.name, "revoked": gone} for row, gone in credentials],
        "keys": [{"id": key.public_id, "name": key.name, "revoked": change.keys_are_revoked} for key in left.keys],
        "invitations": [{"id": row.public_id, "email": row.email} for row in left.withdrawn],
    }


class MemberQuery(PageQuery):
    role = serializers.ChoiceField(choices=ROLES, required=False, help_text="Only those with this role.")
    order = serializers.ChoiceField(choices=("created", "-created"), default="created")


class InvitationQuery(PageQuery):
    order = serializers.ChoiceField(choices=("-created", "created"), default="-created")


class RoleQuery(Strict):
    management_keys = serializers.ChoiceField(
        choices=(REVOKE, KEEP), default=REVOKE,
        help_text="What becomes of those that the person made and could not make any more.",
    )  # fmt: skip


class RemovalQuery(RoleQuery):
    keys = serializers.ChoiceField(
        choices=(KEEP, REVOKE), default=KEEP, help_text="What becomes of keys for models that the person made."
    )


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


class MadeOut(AnySerializer):
    id = serializers.CharField()
    name = serializers.CharField()
    revoked = serializers.BooleanField(help_text="False: it goes on working.")


class WithdrawnOut(AnySerializer):
    id = serializers.CharField()
    email = serializers.CharField()


class RemovedOut(AnySerializer):
    """What somebody had made in the account, and what became of it."""

    id = serializers.CharField()
    management_keys = MadeOut(many=True)
    keys = MadeOut(many=True, help_text="Keys for models, the first 500 of them.")
    invitations = WithdrawnOut(many=True, help_text="Withdrawn.")


class MemberChangedOut(MemberOut):
    """A member, and what became of what the member had made."""

    management_keys = MadeOut(many=True)
    keys = MadeOut(many=True, help_text="Keys for models, the first 500 of them.")
    invitations = WithdrawnOut(many=True, help_text="Withdrawn.")


class InvitationOut(AnySerializer):
    id = serializers.CharField(source="public_id")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=ROLES)
    invited_by = serializers.CharField(help_text="Who sent the last mail: a user's name, a credential or a command.")
    created_at = Moment()
    sent_at = Moment(allow_null=True, help_text="Null: the mail could not be sent. Send it again.")
    expires_at = Moment()
    accepted_at = Moment(allow_null=True)
    withdrawn_at = Moment(allow_null=True)
