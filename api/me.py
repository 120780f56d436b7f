"""The caller, as the API sees them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.services.credentials import OPERATOR_SCOPES
from api.base.access import EVERY_ROLE, Action, role_in, seen_by
from api.base.addresses import EXAMPLE_ACCOUNT
from api.base.fields import Output
from api.base.operations import Operation, at
from api.base.resource import View

MOST_ACCOUNTS = 100


class AccountOfMine(Output):
    id = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=sorted(EVERY_ROLE), allow_null=True, help_text="Null for a management key.")


class MeOut(Output):
    example = {
        "kind": "session",
        "id": "ada",
        "email": "ada@example.org",
        "is_operator": False,
        "scopes": [],
        "accounts": [{"id": EXAMPLE_ACCOUNT, "name": "Acme", "role": "owner"}],
    }

    kind = serializers.ChoiceField(choices=("session", "management_key", "operator_token"))
    id = serializers.CharField(help_text="A username, or the public id of a credential.")
    email = serializers.CharField(allow_blank=True)
    is_operator = serializers.BooleanField(help_text="Whether you see every account.")
    scopes = serializers.ListField(
        child=serializers.CharField(), help_text=f"Of a credential or an operator, such as {OPERATOR_SCOPES[0]}."
    )
    accounts = AccountOfMine(many=True, help_text="Empty for operators, who see all accounts at /accounts/.")


@at("me/", name="me")
class Me(View):
    @Operation(id="get_me", tag="me", who=(Action.READ_SELF,), answer=MeOut)
    def get(self, request: Request) -> Response:
        """Show who you are: how you are authenticated, what you may do, and your role in each of your first 100
        accounts."""
        caller, user = self.caller, self.caller.user
        accounts: list[dict[str, Any]] = []
        if not caller.is_operator:
            rows = seen_by(caller, Account.objects.order_by("name"))[:MOST_ACCOUNTS]
            accounts = [{"id": row.public_id, "name": row.name, "role": role_in(row) or None} for row in rows]
        return self.show(
            {
                "kind": caller.kind,
                "id": caller.id if user is None else user.get_username(),
                "email": user.email if user else "",
                "is_operator": caller.is_operator,
                "scopes": sorted(caller.scopes),
                "accounts": accounts,
            }
        )
