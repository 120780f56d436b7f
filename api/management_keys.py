"""Management keys: what an account's own programs ask this API with."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authority import check_scopes
from accounts.models import ManagementKey
from accounts.services.credentials import (
    MANAGEMENT,
    MANAGEMENT_SCOPES,
    make_management_key,
    prefix_of,
    revoke_credential,
)
from api.base.access import Action, allowed_to, find, find_account
from api.base.fields import AnySerializer, MadeBy, MadeWith, Moment, Strict, Text, YesOrNo
from api.base.idempotency import Made, once
from api.base.paging import PageQuery, Pages, order_of
from api.base.resource import View, body_of, count_new_secret, count_write, query_of
from api.keys import account_to_act_for


class ManagementKeyPages(Pages):
    orders = {"created": "id", "name": "name"}


class ManagementKeys(View):
    pagination_class = ManagementKeyPages

    def get(self, request: Request) -> Response:
        """The management keys of your accounts, newest first."""
        query = query_of(request, ManagementKeyQuery)
        if account := query.get("account"):
            rows = _rows().filter(account=find_account(self.caller, Action.READ_MANAGEMENT_KEYS, account))
        else:
            rows = allowed_to(self.caller, Action.READ_MANAGEMENT_KEYS, _rows(), "account__")
        if "revoked" in query:
            rows = rows.filter(revoked_at__isnull=not query["revoked"])
        return self.page(rows, ManagementKeyOut, order_of(query))

    def post(self, request: Request) -> Response:
        """Make a management key, with no more scopes than you have. Its text is in this answer and can never be read
        again. One that a program makes expires with the program's credential at the latest."""
        caller = self.caller
        caller.require(Action.WRITE_MANAGEMENT_KEYS)
        wanted = body_of(request, ManagementKeyIn)
        account = account_to_act_for(caller, Action.WRITE_MANAGEMENT_KEYS, wanted.pop("account", None))
        check_scopes(caller.actor, account, wanted["scopes"])  # also before an answer is given again

        def make(secret: str | None) -> Made:
            count_new_secret(caller, account)
            row, text = make_management_key(account, actor=caller.actor, secret=secret, **wanted)
            return Made(201, _shown(row), account.public_id, subject=row.public_id, text=text)

        return once(request, caller, prefix_of(MANAGEMENT), make)


class OneManagementKey(View):
    def get(self, request: Request, id: str) -> Response:
        """One management key."""
        row = find(self.caller, Action.READ_MANAGEMENT_KEYS, _rows(), "account__", public_id=id)
        return Response(ManagementKeyOut(row).data)

    def delete(self, request: Request, id: str) -> Response:
        """Revoke a management key that may do no more than you: its next request is refused."""
        row = find(self.caller, Action.WRITE_MANAGEMENT_KEYS, _rows(), "account__", public_id=id)
        check_scopes(self.caller.actor, row.account, row.scopes, verb="revoke")
        count_write(self.caller, row.account)
        revoke_credential(row, actor=self.caller.actor)
        return Response(status=204)


def _rows() -> QuerySet[ManagementKey]:
    return ManagementKey.objects.select_related("account", "created_by")


def _shown(row: ManagementKey) -> dict[str, Any]:
    return dict(ManagementKeyOut(row).data)


class ManagementKeyQuery(PageQuery):
    account = Text(required=False, help_text="Only this account's.")
    revoked = YesOrNo(required=False, help_text="Only those that are revoked, or only the others.")
    order = serializers.ChoiceField(choices=("-created", "created", "name", "-name"), default="-created")


class ManagementKeyIn(Strict):
    account = Text(required=False, help_text="May be left out by who has only one.")
    name = Text(max_length=200)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=MANAGEMENT_SCOPES), min_length=1, max_length=len(MANAGEMENT_SCOPES)
    )
    expires_at = Moment(allow_null=True, default=None)


class ManagementKeyOut(AnySerializer):
    id = serializers.CharField(source="public_id")
    account = serializers.CharField(source="account.public_id")
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=MANAGEMENT_SCOPES))
    start = serializers.CharField()
    created_by = MadeBy()
    made_with = MadeWith()
    created_at = Moment()
    expires_at = Moment(allow_null=True)
    revoked_at = Moment(allow_null=True)
    last_used_at = Moment(allow_null=True)


class ManagementKeyMade(ManagementKeyOut):
    key = serializers.CharField(help_text="The whole text: in this answer and never again.")
