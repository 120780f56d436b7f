"""The export of an account: everything the API knows about it, in one file. Objects are those that the API shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from accounts.models import Account, AuditEvent
from api.accounts import AccountOut, accounts_shown
from api.audit import AuditOut
from api.base.access import Action
from api.base.fields import Moment, Output
from api.base.operations import Operation, at
from api.base.resource import View, take_from
from api.base.streaming import download
from api.catalogue import PlanOut, plans_shown
from api.invitations import InvitationOut, invitations_shown
from api.keys import KeyOut, keys_shown
from api.management_keys import ManagementKeyOut, management_keys_shown
from api.members import MemberOut, members_shown
from api.usage import COUNTS, FIRST_YEAR, UsageOut, rows_shown
from quotas.models import Plan
from quotas.usage.reading import HOUR, UsageSelection, read_all
from store.throttles import EXPORTS

_ROWS = 1000  # fetched at once
_PIECES = 200  # sent at once: each chunk costs a switch of threads
_GROUPS = ("key", "model")
_COLUMNS = ("start", "end", *_GROUPS, *COUNTS)


class ExportOut(Output):
    """Everything known about an account. Each object is the one that its own call answers."""

    example = {
        "exported_at": "2030-11-23T06:20:00Z",
        "account": AccountOut.example,
        "plan": PlanOut.example,
        "members": [MemberOut.example],
        "invitations": [],
        "keys": [],
        "management_keys": [],
        "usage": [{name: UsageOut.example[name] for name in _COLUMNS}],
        "audit": [AuditOut.example],
    }

    exported_at = Moment()
    account = AccountOut()
    plan = PlanOut()
    members = MemberOut(many=True)
    invitations = InvitationOut(many=True)
    keys = KeyOut(many=True)
    management_keys = ManagementKeyOut(many=True)
    usage = UsageOut(many=True, help_text="By hour, key and model.")
    audit = AuditOut(many=True)


@at("accounts/<account_id:id>/export/", name="account-export")
class AccountExport(View):
    @Operation(id="export_account", tag="accounts", who=(Action.EXPORT_ACCOUNT,), answer=ExportOut)
    def get(self, request: Request, id: str) -> HttpResponseBase:
        """Export everything that is known about an account as one JSON object: people, keys without their secrets, the
        plan, usage and the audit log."""
        account = self.find(accounts_shown(), public_id=id)
        take_from(EXPORTS, account.public_id)
        return download(request, f"{account.public_id}.json", _joined(export(account)), "application/json")


def export(account: Account) -> Iterator[str]:
    """The export as pieces of JSON: all of it may not fit into memory. The account has what `accounts_shown` fetches.

    Even an operator may pass it on to the customer, so it shows the plan as customers see it.
    """
    plan = plans_shown(Plan.objects.filter(pk=account.plan_id), to_operators=False).get()
    yield f'{{"exported_at":{_dump(timezone.now())},"account":{_dump(AccountOut(account).data)}'
    yield f',"plan":{_dump(PlanOut(plan).data)}'
    for name, rows in (
        ("members", _rows(MemberOut, members_shown(account))),
        ("invitations", _rows(InvitationOut, invitations_shown(account))),
        ("keys", _rows(KeyOut, keys_shown().filter(account=account))),
        ("management_keys", _rows(ManagementKeyOut, management_keys_shown().filter(account=account))),
        ("usage", _usage(account)),
        ("audit", _rows(AuditOut, AuditEvent.objects.filter(account=account.public_id))),
    ):
        yield f',"{name}":['
        yield from _separated(rows)
        yield "]"
    yield "}\n"


def _rows(shown_by: type[Output], rows: QuerySet[Any]) -> Iterator[Any]:
    for row in rows.order_by("pk").iterator(_ROWS):
        yield shown_by(row).data


def _usage(account: Account) -> Iterator[Any]:
    selection = UsageSelection(
        start=datetime(FIRST_YEAR, 1, 1, tzinfo=UTC),
        end=timezone.now().replace(minute=0, second=0, microsecond=0) + HOUR,
        interval="hour",
        groups=_GROUPS,
        accounts=(account.public_id,),
    )
    return rows_shown(read_all(selection), _COLUMNS)


def _separated(rows: Iterable[Any]) -> Iterator[str]:
    separator = ""
    for row in rows:
        yield separator + _dump(row)
        separator = ","


def _dump(value: Any) -> str:
    return json.dumps(value, cls=JSONEncoder, separators=(",", ":"))


def _joined(pieces: Iterator[str]) -> Iterator[str]:
    held: list[str] = []
    for piece in pieces:
        held.append(piece)
        if len(held) == _PIECES:
            yield "".join(held)
            held.clear()
    yield "".join(held)
