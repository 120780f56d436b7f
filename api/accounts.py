"""Accounts: seen and renamed by their people, made and set by the operator's billing system."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caps import MOST_OVERRIDES
from accounts.models import EXTERNAL_ID, EXTERNAL_ID_WORDS, Account
from accounts.services.accounts import AccountEdit, OverrideAmount, change_account, overrides_of
from accounts.services.provisioning import put_account
from accounts.standing import STATUSES
from api.base.access import Action, Caller, allowed_to, find, role_in, seen_by
from api.base.fields import AnySerializer, Moment, Strict, Text, Whole
from api.base.paging import PageQuery, Pages, order_of
from api.base.resource import View, answer, body_of, count_write, query_of
from quotas.limits import MOST_BURST, MOST_CALENDAR
from quotas.models import MOST_MAX_KEYS


class AccountPages(Pages):
    orders = {"created": "id", "name": "name"}


class Accounts(View):
    pagination_class = AccountPages

    def get(self, request: Request) -> Response:
        """The accounts that you belong to; for operators all."""
        query = query_of(request, AccountQuery)
        rows = allowed_to(self.caller, Action.READ_ACCOUNT, accounts_shown())
        if "name" in query:
            rows = rows.filter(name__icontains=query["name"])
        if "plan" in query:
            rows = rows.filter(plan__name=query["plan"])
        if "status" in query:
            rows = _in_state(rows, query["status"])
        return self.page(rows, AccountOut, order_of(query, "name"))


class OneAccount(View):
    def get(self, request: Request, id: str) -> Response:
        """One account."""
        return Response(AccountOut(find(self.caller, Action.READ_ACCOUNT, accounts_shown(), public_id=id)).data)

    def patch(self, request: Request, id: str) -> Response:
        """Change what is sent: owners and admins the name, operators everything. `overrides` is the whole map."""
        changes = body_of(request, AccountChange, partial=True)
        account = find_to_set(self.caller, changes, public_id=id)
        count_write(self.caller, account)
        publication = change_account(account, edit_of(changes), actor=self.caller.actor)
        return answer(publication, 200, shown(self.caller, account))


class ByExternalId(View):
    def get(self, request: Request, external_id: str) -> Response:
        """The account that the operator's own system knows by this id."""
        require_operator(self.caller, Action.PROVISION_ACCOUNT)
        rows = seen_by(self.caller, accounts_shown()).filter(external_id=external_id)
        account = rows.first() if re.match(EXTERNAL_ID, external_id) else None
        if account is None:
            raise Http404
        return Response(AccountOut(account).data)

    def put(self, request: Request, external_id: str) -> Response:
        """Make this account, or set it. Sending the same again changes nothing; what is left out stays as it is."""
        caller = self.caller
        for action in (Action.PROVISION_ACCOUNT, *_actions_for(request.data if isinstance(request.data, dict) else {})):
            require_operator(caller, action)
        if not re.match(EXTERNAL_ID, external_id):
            raise serializers.ValidationError({"external_id": EXTERNAL_ID_WORDS})
        changes = body_of(request, ProvisionIn, partial=True)
        count_write(caller, None)
        account, was_made, publication = put_account(external_id, edit_of(changes), actor=caller.actor)
        return answer(publication, 201 if was_made else 200, shown(caller, account))


# What each field of a change asks for, beyond what everybody who sees the account may do.
_ACTIONS = {
    "name": Action.RENAME_ACCOUNT,
    "plan": Action.ASSIGN_PLAN,
    "overrides": Action.ASSIGN_PLAN,
    "max_keys": Action.ASSIGN_PLAN,
    "status": Action.PROVISION_ACCOUNT,
    "external_id": Action.PROVISION_ACCOUNT,
}


def _actions_for(changes: Mapping[str, Any]) -> list[Action]:
    return list(dict.fromkeys(_ACTIONS[name] for name in changes if name in _ACTIONS))


def find_to_set(caller: Caller, changes: Mapping[str, Any], **where: Any) -> Account:
    """The account, if the caller may change all of this."""
    first, *others = _actions_for(changes) or [Action.RENAME_ACCOUNT]
    account = find(caller, first, accounts_shown(), **where)
    for action in others:
        caller.require(action)
        if not caller.may(action, role_in(account)):
            raise PermissionDenied
    return account


def require_operator(caller: Caller, action: Action) -> None:
    """Refuse who has not this as an operator: there is no account yet that a role could be in."""
    caller.require(action)
    if not caller.may(action, None):
        raise PermissionDenied


def accounts_shown() -> QuerySet[Account]:
    """Accounts with all that AccountOut shows, in a number of queries that does not grow with theirs."""
    return Account.objects.select_related("plan").prefetch_related("overrides")


def shown(caller: Caller, account: Account) -> dict[str, Any]:
    return dict(AccountOut(seen_by(caller, accounts_shown()).get(pk=account.pk)).data)


def edit_of(changes: Mapping[str, Any]) -> AccountEdit:
    edit = AccountEdit(**{field: value for field, value in changes.items() if field != "overrides"})
    if "overrides" not in changes:
        return edit
    return replace(edit, overrides={name: OverrideAmount(**one) for name, one in changes["overrides"].items()})


def _in_state(rows: QuerySet[Account], state: str) -> QuerySet[Account]:
    match state:
        case "closed":
            return rows.filter(closed_at__isnull=False)
        case "suspended":
            return rows.filter(closed_at=None, suspended_at__isnull=False)
    return rows.filter(closed_at=None, suspended_at=None)


class AccountQuery(PageQuery):
    name = Text(required=False, max_length=200, help_text="Only those whose name contains this.")
    plan = Text(required=False, max_length=63, help_text="Only those on this plan.")
    status = serializers.ChoiceField(choices=STATUSES, required=False, help_text="Only those in this state.")
    order = serializers.ChoiceField(choices=("name", "-name", "created", "-created"), default="name")


class OverrideIn(Strict):
    amount = Whole(min_value=1, max_value=MOST_CALENDAR)
    burst = Whole(min_value=1, max_value=MOST_BURST, allow_null=True, default=None)


class OverrideMap(serializers.DictField):
    """Limit names with other amounts: all of them, so one that is left out goes back to the plan's."""

    child = OverrideIn()

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MOST_OVERRIDES:
            raise serializers.ValidationError(f"There are more than {MOST_OVERRIDES}.")
        return super().to_internal_value(data)


class ProvisionIn(Strict):
    """What a billing system says of an account. What is left out stays, or has its default in a new account."""

    name = Text(max_length=200, required=False, help_text="Of a new account by default its external id.")
    plan = Text(max_length=63, required=False, help_text="Of a new account by default the catalogue's default plan.")
    status = serializers.ChoiceField(choices=STATUSES, required=False, help_text="`active` reopens a closed account.")
    overrides = OverrideMap(required=False)
    max_keys = Whole(
        min_value=0, max_value=MOST_MAX_KEYS, allow_null=True, required=False,
        help_text="How many keys it may have that are neither revoked nor expired; null: as many as its plan says.",
    )  # fmt: skip


class AccountChange(ProvisionIn):
    external_id = serializers.RegexField(EXTERNAL_ID, required=False, error_messages={"invalid": EXTERNAL_ID_WORDS})


class AccountOut(AnySerializer):
    id = serializers.CharField(source="public_id")
    external_id = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    plan = serializers.CharField(source="plan.name")
    plan_since = Moment()
    status = serializers.ChoiceField(choices=STATUSES, source="state")
    role = serializers.SerializerMethodField(help_text="Yours in it; null for programs and operators.")
    overrides = serializers.SerializerMethodField()
    max_keys = serializers.IntegerField(allow_null=True, help_text="Of its own; null: as its plan says.")
    created_at = Moment()
    suspended_at = Moment(allow_null=True)
    closed_at = Moment(allow_null=True)

    def get_role(self, account: Account) -> str | None:
        return role_in(account) or None

    def get_overrides(self, account: Account) -> dict[str, Any]:
        return overrides_of(account)
