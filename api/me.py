"""Who asks, as the API understands it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.services.credentials import OPERATOR_SCOPES
from api.base.access import EVERY_ROLE, role_in, seen_by
from api.base.fields import AnySerializer
from api.base.resource import View

MOST_ACCOUNTS = 100


class Me(View):
    def get(self, request: Request) -> Response:
        """You: how you are signed in, what you may do, and the first hundred of your accounts with your role there."""
        caller, user = self.caller, self.caller.user
        accounts: list[dict[str, Any]] = []
        if not caller.is_operator:
            rows = seen_by(caller, Account.objects.order_by("name"))[:MOST_ACCOUNTS]
            accounts = [{"id": row.public_id, "name": row.name, "role": role_in(row) or None} for row in rows]
        body = {
            "kind": caller.kind,
            "id": caller.id if user is None else user.get_username(),
            "email": user.email if user else "",
            "is_operator": caller.is_operator,
            "scopes": sorted(caller.scopes),
            "accounts": accounts,
        }
        return Response(MeOut(body).data)


class AccountOfMine(AnySerializer):
    id = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=sorted(EVERY_ROLE), allow_null=True, help_text="None of a management key.")


class MeOut(AnySerializer):
    kind = serializers.ChoiceField(choices=("session", "management_key", "operator_token"))
    id = serializers.CharField(help_text="A user's name, or the public id of a credential.")
    email = serializers.CharField(allow_blank=True)
    is_operator = serializers.BooleanField(help_text="Sees every account.")
    scopes = serializers.ListField(
        child=serializers.CharField(), help_text=f"Of credentials and operators, such as {OPERATOR_SCOPES[0]}."
    )
    accounts = AccountOfMine(many=True, help_text="Empty for operators, who see them all at /accounts/.")
