"""The people of an account."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Membership, User
from accounts.services.members import Change, Wish, change_member, put_member
from api.accounts import require_operator
from api.base.access import Action, role_in
from api.base.addresses import EXAMPLE_KEY
from api.base.fields import Input, Output, Text
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View, count_write

ROLES = Membership.Role.values
KEEP, REVOKE = "keep", "revoke"
CHANGING_MEMBERS = (Action.WRITE_MEMBERS, Action.CHANGE_ADMINS, Action.CHANGE_OWNERS)

_LEFT_BEHIND = {
    "management_keys": [{"id": "T5c6tKxK8sFQbN2w", "name": "deploy job", "revoked": True}],
    "keys": [{"id": EXAMPLE_KEY, "name": "laptop", "revoked": False}],
    "invitations": [{"id": "T5c6tKxKw9HdL4uE", "email": "grace@example.org"}],
}


class MemberQuery(PageQuery):
    role = serializers.ChoiceField(choices=ROLES, required=False, help_text="Only members with this role.")
    order = serializers.ChoiceField(choices=("created", "-created"), default="created")


class RoleQuery(Input):
    management_keys = serializers.ChoiceField(
        choices=(REVOKE, KEEP),
        default=REVOKE,
        help_text="What happens to management keys that the person created and could no longer create.",
    )


class RemovalQuery(RoleQuery):
    keys = serializers.ChoiceField(
        choices=(KEEP, REVOKE), default=KEEP, help_text="What happens to keys for models that the person created."
    )


class RoleIn(Input):
    example = {"role": "viewer"}

    role = serializers.ChoiceField(choices=ROLES)


class MemberIn(RoleIn):
    example = {"username": "grace", "role": "member"}

    username = Text(max_length=150)


class MemberOut(Output):
    example = {"id": "T5c6tKxKm3RzY7pA", "username": "ada", "email": "ada@example.org", "role": "owner"}

    id = serializers.CharField(source="public_id")
    username = serializers.CharField(source="user.username")
    email = serializers.CharField(source="user.email", allow_blank=True)
    role = serializers.ChoiceField(choices=ROLES)


class MadeOut(Output):
    id = serializers.CharField()
    name = serializers.CharField()
    revoked = serializers.BooleanField(help_text="False: it keeps working.")


class WithdrawnOut(Output):
    id = serializers.CharField()
    email = serializers.CharField()


class RemovedOut(Output):
    """What the person had created in the account, and what happened to it."""

    example = {"id": MemberOut.example["id"], **_LEFT_BEHIND}

    id = serializers.CharField()
    management_keys = MadeOut(many=True)
    keys = MadeOut(many=True, help_text="Keys for models, the first 500 of them.")
    invitations = WithdrawnOut(many=True, help_text="Withdrawn.")


class MemberChangedOut(MemberOut):
    """A member, what they had created, and what happened to it."""

    example = {**MemberOut.example, "role": "viewer", **_LEFT_BEHIND}

    management_keys = MadeOut(many=True)
    keys = MadeOut(many=True, help_text="Keys for models, the first 500 of them.")
    invitations = WithdrawnOut(many=True, help_text="Withdrawn.")


@at("accounts/<account_id:account>/members/", name="members")
class Members(View):
    @Operation(
        id="list_members",
        tag="members",
        who=(Action.READ_MEMBERS,),
        query=MemberQuery,
        answer=MemberOut,
        is_list=True,
    )
    def get(self, request: Request, account: str) -> Response:
        """List the people of an account, in the order in which they joined."""
        query = self.read_query()
        rows = members_shown(self.find_account(account))
        if "role" in query:
            rows = rows.filter(role=query["role"])
        return self.page(rows, query["order"])

    @Operation(
        id="add_member",
        tag="members",
        who=(Action.PROVISION_ACCOUNT,),
        body=MemberIn,
        status=201,
        answer=MemberOut,
        may_conflict=True,
    )
    def post(self, request: Request, account: str) -> Response:
        """Add somebody who already has a user. Only operators may, and a token can only add members and viewers.
        Everybody else invites people."""
        require_operator(self.caller, Action.PROVISION_ACCOUNT)
        wanted = self.read_body()
        owner = self.find_account(account)
        try:
            user = User.objects.get_by_natural_key(wanted["username"])
        except User.DoesNotExist as error:
            text = "There is no such user. Invite the person by mail."
            raise serializers.ValidationError({"username": text}) from error
        count_write(self.caller, owner)
        if member := members_shown(owner).filter(user=user).first():
            change_member(member, wanted["role"], actor=self.caller.actor)  # protects the last owner here too
        else:
            put_member(owner, user, wanted["role"], actor=self.caller.actor)
        return self.show(members_shown(owner).get(user=user))


@at("accounts/<account_id:account>/members/<public_id:id>/", name="member")
class OneMember(View):
    @Operation(id="get_member", tag="members", who=(Action.READ_MEMBERS,), answer=MemberOut)
    def get(self, request: Request, account: str, id: str) -> Response:
        """Get a member."""
        return self.show(_member(self.find_account(account), id))

    @Operation(
        id="change_member",
        tag="members",
        who=CHANGING_MEMBERS,
        query=RoleQuery,
        body=RoleIn,
        answer=MemberChangedOut,
        may_conflict=True,
    )
    def patch(self, request: Request, account: str, id: str) -> Response:
        """Change a member's role. A person can give a role up to their own, a program `member` or `viewer`. The last
        owner remains an owner. Management keys that could now do more than the member are revoked unless you keep them.
        Invitations to a role that the member may no longer give are withdrawn."""
        query = self.read_query()
        owner = self.find_account(account)
        member, role = _member(owner, id), self.read_body()["role"]
        count_write(self.caller, owner)
        wish = Wish(keep_management_keys=query["management_keys"] == KEEP)
        change = change_member(member, role, actor=self.caller.actor, wish=wish)
        return Response({**MemberOut(_member(owner, id)).data, **_left_behind(change)})

    @Operation(
        id="remove_member",
        tag="members",
        who=(*CHANGING_MEMBERS, Action.READ_MEMBERS),
        query=RemovalQuery,
        answer=RemovedOut,
        also={204: "Done. The person had created nothing here."},
        may_be_pending=True,
        may_conflict=True,
        notes="Everybody who can see the members may leave.",
    )
    def delete(self, request: Request, account: str, id: str) -> Response:
        """Remove a member, or leave the account. The last owner cannot leave. Management keys that the person created
        are revoked unless you keep them. Keys for models keep working unless you revoke them. The answer lists both,
        and the person's invitations that were withdrawn."""
        caller, query = self.caller, self.read_query()
        owner = self.find_account(account, Action.READ_MEMBERS)
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
        return Response({"id": id, **_left_behind(change), **pending}, status=202 if pending else 200)


def members_shown(account: Account) -> QuerySet[Membership]:
    """Members with everything that MemberOut shows."""
    return account.memberships.select_related("user")


def _member(account: Account, id: str) -> Membership:
    member = members_shown(account).filter(public_id=id).first()
    if member is None:
        raise Http404
    return member


def _left_behind(change: Change) -> dict[str, Any]:
    """What happened to everything that the member had created."""
    left = change.left
    credentials = [(row, True) for row in left.revoked] + [(row, False) for row in left.kept]
    return {
        "management_keys": [{"id": row.public_id, "name": row.name, "revoked": gone} for row, gone in credentials],
        "keys": [{"id": key.public_id, "name": key.name, "revoked": change.keys_are_revoked} for key in left.keys],
        "invitations": [{"id": row.public_id, "email": row.email} for row in left.withdrawn],
    }
