"""What an account may become. Commands, the admin, the API and billing systems all change accounts by these rules.

Each function changes a row in memory that the caller has locked and will check and save.
"""

from __future__ import annotations

from typing import Literal, get_args

from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts import keys
from accounts.models import Account, erased_name
from accounts.refused import Refused
from quotas.models import Plan

Status = Literal["active", "suspended", "closed"]
STATUSES: tuple[Status, ...] = get_args(Status)


def new_account(name: str, plan: Plan, external_id: str | None = None) -> Account:
    """An active account, not saved yet."""
    account = Account(name=name.strip(), plan=plan, plan_since=timezone.now(), public_id=_new_public_id())
    if external_id is not None:
        call_by(account, external_id)
    return account


def _new_public_id() -> str:
    """One that no external id looks like: whoever writes either means one account."""
    while Account.objects.filter(external_id=(public_id := keys.new_account_id())).exists():
        pass
    return public_id


def call_by(account: Account, external_id: str | None) -> None:
    """Set the external id, which must not be a different account's public id; None removes it."""
    if external_id is None:
        account.external_id = None
        return
    _refuse_if_erased(account)
    if Account.objects.filter(public_id=external_id).exclude(pk=account.pk).exists():
        text = f"{external_id} is the id of an account. Use that id as it is, or another external id."
        raise ValidationError({"external_id": text})
    account.external_id = external_id


def rename(account: Account, name: str) -> None:
    """Give the account another name; an erased one gets none, since somebody wanted it forgotten."""
    if name.strip() != account.name:
        _refuse_if_erased(account)
        if name.strip() == erased_name(account.public_id):
            raise ValidationError({"name": "Accounts that were erased are called like this: use another name."})
        account.name = name.strip()


def move(account: Account, plan: Plan) -> None:
    """Put the account on a plan. Limits that are younger than their window count from when it came."""
    if account.plan_id != plan.pk:
        account.plan, account.plan_since = plan, timezone.now()


def suspend(account: Account) -> None:
    _refuse_if_closed(account)
    account.suspended_at = account.suspended_at or timezone.now()


def resume(account: Account) -> None:
    _refuse_if_closed(account)
    account.suspended_at = None


def close(account: Account) -> None:
    account.closed_at = account.closed_at or timezone.now()


def reopen(account: Account) -> None:
    """Undo the closing: the account is what it was before, which may be suspended."""
    if account.closed_at is not None:
        _refuse_if_erased(account)
        account.closed_at = None


def set_status(account: Account, status: Status) -> None:
    """What a billing system says: the account is in this state from now on, whatever it was in before."""
    if status == "closed":
        close(account)
        return
    reopen(account)
    (suspend if status == "suspended" else resume)(account)


def erase(account: Account) -> None:
    """Close it, and forget its names. Whoever comes back under its external id gets an account of their own."""
    close(account)
    account.erased_at = account.erased_at or timezone.now()
    account.name = erased_name(account.public_id)
    account.former_external_id = account.external_id or account.former_external_id
    account.external_id = None


def _refuse_if_closed(account: Account) -> None:
    if account.closed_at is not None:
        raise Refused(f"The account {account} is closed: reopen it first.")


def _refuse_if_erased(account: Account) -> None:
    if account.is_erased:
        raise Refused(f"The account {account.public_id} was closed and erased, which cannot be undone: make a new one.")
