"""Management keys: the credentials that an account's own programs use for this API."""

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
from api.base.access import Action
from api.base.addresses import EXAMPLE_ACCOUNT
from api.base.fields import Input, MadeBy, MadeWith, Moment, Output, Text, YesOrNo
from api.base.idempotency import Made, once
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View, count_new_secret, count_write

_ID = "T5c6tKxK8sFQbN2w"


class ManagementKeyQuery(PageQuery):
    orders = {"created": "id", "name": "name"}

    account = Text(required=False, help_text="Only management keys of this account.")
    revoked = YesOrNo(required=False, help_text="Only those that are revoked, or only those that are not.")
    order = serializers.ChoiceField(choices=("-created", "created", "name", "-name"), default="-created")


class ManagementKeyIn(Input):
    example = {"name": "deploy job", "scopes": ["keys:read", "keys:write"]}

    account = Text(required=False, help_text="May be left out if you have only one.")
    name = Text(max_length=200)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=MANAGEMENT_SCOPES), min_length=1, max_length=len(MANAGEMENT_SCOPES)
    )
    expires_at = Moment(allow_null=True, default=None)


class ManagementKeyOut(Output):
    example = {
        "id": _ID,
        "account": EXAMPLE_ACCOUNT,
        "name": "deploy job",
        "scopes": ["keys:read", "keys:write"],
        "start": f"ask_mgmt_{_ID}",
        "created_by": "ada",
        "made_with": None,
        "created_at": "2030-11-23T06:20:00Z",
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": "2030-11-23T06:25:00Z",
    }

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
    example = {**ManagementKeyOut.example, "key": f"ask_mgmt_{_ID}_…"}

    key = serializers.CharField(help_text="The whole text. No other answer contains it.")


@at("management-keys/", name="management-keys")
class ManagementKeys(View):
    @Operation(
        id="list_management_keys",
        tag="management keys",
        who=(Action.READ_MANAGEMENT_KEYS,),
        query=ManagementKeyQuery,
        answer=ManagementKeyOut,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        """List the management keys of your accounts, newest first."""
        query = self.read_query()
        if account := query.get("account"):
            rows = management_keys_shown().filter(account=self.find_account(account))
        else:
            rows = self.allowed(management_keys_shown(), "account__")
        if "revoked" in query:
            rows = rows.filter(revoked_at__isnull=not query["revoked"])
        return self.page(rows, query["order"])

    @Operation(
        id="make_management_key",
        tag="management keys",
        who=(Action.WRITE_MANAGEMENT_KEYS,),
        body=ManagementKeyIn,
        status=201,
        answer=ManagementKeyMade,
        once=True,
        may_conflict=True,
        links={"get_management_key": "id", "revoke_management_key": "id"},
    )
    def post(self, request: Request) -> Response:
        """Create a management key, with no more scopes than you have. Its text is in this answer only and can never be
        read again. One created by a program expires no later than the program's own credential."""
        caller = self.caller
        self.require()
        wanted = self.read_body()
        account = self.find_own_account(wanted.pop("account", None))
        check_scopes(caller.actor, account, wanted["scopes"])  # also before an answer is repeated

        def make(secret: str | None) -> Made:
            count_new_secret(caller, account)
            row, text = make_management_key(account, actor=caller.actor, secret=secret, **wanted)
            return Made(201, _shown(row), account.public_id, subject=row.public_id, text=text)

        return once(request, caller, prefix_of(MANAGEMENT), make)


@at("management-keys/<public_id:id>/", name="management-key")
class OneManagementKey(View):
    @Operation(
        id="get_management_key",
        tag="management keys",
        who=(Action.READ_MANAGEMENT_KEYS,),
        answer=ManagementKeyOut,
    )
    def get(self, request: Request, id: str) -> Response:
        """Get a management key."""
        return self.show(self.find(management_keys_shown(), "account__", public_id=id))

    @Operation(id="revoke_management_key", tag="management keys", who=(Action.WRITE_MANAGEMENT_KEYS,), status=204)
    def delete(self, request: Request, id: str) -> Response:
        """Revoke a management key that has no more scopes than you have. Its next request is refused."""
        row = self.find(management_keys_shown(), "account__", public_id=id)
        check_scopes(self.caller.actor, row.account, row.scopes, verb="revoke")
        count_write(self.caller, row.account)
        revoke_credential(row, actor=self.caller.actor)
        return Response(status=204)


def management_keys_shown() -> QuerySet[ManagementKey]:
    """Management keys with everything that ManagementKeyOut shows."""
    return ManagementKey.objects.select_related("account", "created_by")


def _shown(row: ManagementKey) -> dict[str, Any]:
    return dict(ManagementKeyOut(row).data)
