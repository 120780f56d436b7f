"""Accounts: read and renamed by their people, created and provisioned by the operator's billing system."""

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
from api.base.access import Action, Caller, find, role_in, seen_by
from api.base.addresses import EXAMPLE_ACCOUNT
from api.base.fields import Input, Moment, Output, Text, Whole
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View, answer, count_write
from quotas.limits import MOST_BURST, MOST_CALENDAR
from quotas.models import MOST_MAX_KEYS


class AccountQuery(PageQuery):
    orders = {"created": "id", "name": "name"}

    name = Text(required=False, max_length=200, help_text="Only accounts whose name contains this.")
    plan = Text(required=False, max_length=63, help_text="Only accounts on this plan.")
    status = serializers.ChoiceField(choices=STATUSES, required=False, help_text="Only accounts in this state.")
    order = serializers.ChoiceField(choices=("name", "-name", "created", "-created"), default="name")


class OverrideIn(Input):
    amount = Whole(min_value=1, max_value=MOST_CALENDAR)
    burst = Whole(min_value=1, max_value=MOST_BURST, allow_null=True, default=None)


class OverrideMap(serializers.DictField):
    """The whole map of limit names to overriding amounts. A limit that is left out returns to the plan's amount."""

    child = OverrideIn()

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MOST_OVERRIDES:
            raise serializers.ValidationError(f"At most {MOST_OVERRIDES} overrides are allowed.")
        return super().to_internal_value(data)


class ProvisionIn(Input):
    """An account as a billing system wants it. Omitted fields stay unchanged; a new account gets their defaults."""

    example = {
        "name": "Acme",
        "plan": "pro",
        "status": "active",
        "overrides": {"month": {"amount": 20000}},
        "max_keys": 500,
    }

    name = Text(max_length=200, required=False, help_text="Default for a new account: its external id.")
    plan = Text(max_length=63, required=False, help_text="Default for a new account: the catalogue's default plan.")
    status = serializers.ChoiceField(choices=STATUSES, required=False, help_text="`active` reopens a closed account.")
    overrides = OverrideMap(required=False)
    max_keys = Whole(
        min_value=0,
        max_value=MOST_MAX_KEYS,
        allow_null=True,
        required=False,
        help_text="How many keys it may have that are neither revoked nor expired. Null: as many as its plan allows.",
    )


class AccountChange(ProvisionIn):
    example = {"name": "Acme & Sons"}

    external_id = serializers.RegexField(EXTERNAL_ID, required=False, error_messages={"invalid": EXTERNAL_ID_WORDS})


class AccountOut(Output):
    example = {
        "id": EXAMPLE_ACCOUNT,
        "external_id": "customer-4711",
        "name": "Acme",
        "plan": "pro",
        "plan_since": "2030-11-01T00:00:00Z",
        "status": "active",
        "role": "owner",
        "overrides": {"month": {"amount": 20000, "burst": None}},
        "max_keys": None,
        "created_at": "2030-10-01T08:00:00Z",
        "suspended_at": None,
        "closed_at": None,
    }

    id = serializers.CharField(source="public_id")
    external_id = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    plan = serializers.CharField(source="plan.name")
    plan_since = Moment()
    status = serializers.ChoiceField(choices=STATUSES, source="state")
    role = serializers.SerializerMethodField(help_text="Your role in it. Null for programs and operators.")
    overrides = serializers.SerializerMethodField()
    max_keys = serializers.IntegerField(allow_null=True, help_text="Its own cap. Null: the plan's applies.")
    created_at = Moment()
    suspended_at = Moment(allow_null=True)
    closed_at = Moment(allow_null=True)

    def get_role(self, account: Account) -> str | None:
        return role_in(account) or None

    def get_overrides(self, account: Account) -> dict[str, Any]:
        return overrides_of(account)


# What a change of each field requires, beyond seeing the account.
_ACTIONS = {
    "name": Action.RENAME_ACCOUNT,
    "plan": Action.ASSIGN_PLAN,
    "overrides": Action.ASSIGN_PLAN,
    "max_keys": Action.ASSIGN_PLAN,
    "status": Action.PROVISION_ACCOUNT,
    "external_id": Action.PROVISION_ACCOUNT,
}
_BY_FIELD = "What is required depends on the fields: `plan` and `overrides` are assigned, the rest is provisioned."


@at("accounts/", name="accounts")
class Accounts(View):
    @Operation(
        id="list_accounts",
        tag="accounts",
        who=(Action.READ_ACCOUNT,),
        query=AccountQuery,
        answer=AccountOut,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        """List your accounts. Operators see all accounts."""
        query = self.read_query()
        rows = self.allowed(accounts_shown())
        if "name" in query:
            rows = rows.filter(name__icontains=query["name"])
        if "plan" in query:
            rows = rows.filter(plan__name=query["plan"])
        if "status" in query:
            rows = _in_state(rows, query["status"])
        return self.page(rows, query["order"])


@at("accounts/<account_id:id>/", name="account")
class OneAccount(View):
    @Operation(id="get_account", tag="accounts", who=(Action.READ_ACCOUNT,), answer=AccountOut)
    def get(self, request: Request, id: str) -> Response:
        """Get an account."""
        return self.show(self.find(accounts_shown(), public_id=id))

    @Operation(
        id="change_account",
        tag="accounts",
        who=(Action.RENAME_ACCOUNT, Action.ASSIGN_PLAN, Action.PROVISION_ACCOUNT),
        body=AccountChange,
        is_partial=True,
        answer=AccountOut,
        may_be_pending=True,
        may_conflict=True,
        notes=_BY_FIELD,
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change an account. Fields that are left out stay unchanged. Owners and admins may change the name, operators
        everything. `overrides` replaces the whole map."""
        changes = self.read_body()
        account = find_to_set(self.caller, changes, public_id=id)
        count_write(self.caller, account)
        publication = change_account(account, edit_of(changes), actor=self.caller.actor)
        return answer(publication, 200, shown(self.caller, account))


@at("accounts/by-external-id/<external_id:external_id>", name="account-by-external-id")
class ByExternalId(View):
    @Operation(id="get_account_by_external_id", tag="accounts", who=(Action.PROVISION_ACCOUNT,), answer=AccountOut)
    def get(self, request: Request, external_id: str) -> Response:
        """Get an account by its id in the operator's own system."""
        require_operator(self.caller, Action.PROVISION_ACCOUNT)
        rows = seen_by(self.caller, accounts_shown()).filter(external_id=external_id)
        account = rows.first() if re.match(EXTERNAL_ID, external_id) else None
        if account is None:
            raise Http404
        return self.show(account)

    @Operation(
        id="put_account_by_external_id",
        tag="accounts",
        who=(Action.PROVISION_ACCOUNT, Action.RENAME_ACCOUNT, Action.ASSIGN_PLAN),
        body=ProvisionIn,
        is_partial=True,
        answer=AccountOut,
        also={201: "Created."},
        may_be_pending=True,
        may_conflict=True,
        notes=_BY_FIELD,
        links={"get_account": "id", "change_account": "id"},
    )
    def put(self, request: Request, external_id: str) -> Response:
        """Create or change an account by its id in the operator's own system. Repeating the request changes nothing.
        Fields that are left out stay unchanged."""
        caller = self.caller
        for action in (Action.PROVISION_ACCOUNT, *_actions_for(request.data if isinstance(request.data, dict) else {})):
            require_operator(caller, action)
        if not re.match(EXTERNAL_ID, external_id):
            raise serializers.ValidationError({"external_id": EXTERNAL_ID_WORDS})
        changes = self.read_body()
        count_write(caller, None)
        account, was_made, publication = put_account(external_id, edit_of(changes), actor=caller.actor)
        return answer(publication, 201 if was_made else 200, shown(caller, account))


def _actions_for(changes: Mapping[str, Any]) -> list[Action]:
    return list(dict.fromkeys(_ACTIONS[name] for name in changes if name in _ACTIONS))


def find_to_set(caller: Caller, changes: Mapping[str, Any], **where: Any) -> Account:
    """The account, if the caller may make all of these changes. Raises as `find` does."""
    first, *others = _actions_for(changes) or [Action.RENAME_ACCOUNT]
    account = find(caller, first, accounts_shown(), **where)
    for action in others:
        caller.require(action)
        if not caller.may(action, role_in(account)):
            raise PermissionDenied
    return account


def require_operator(caller: Caller, action: Action) -> None:
    """Refuse everybody who may not do this as an operator: there is no account yet in which they could have a role."""
    caller.require(action)
    if not caller.may(action, None):
        raise PermissionDenied


def accounts_shown() -> QuerySet[Account]:
    """Accounts with everything that AccountOut shows, in a fixed number of queries."""
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
