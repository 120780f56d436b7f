"""The rules for changing an account: which names, ids and states it may get.

Each function changes a row in memory. The caller has locked it, and validates and saves it afterwards.
"""

from __future__ import annotations

from typing import Literal, get_args

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext

from accounts import keys
from accounts.models import Account, erased_name
from accounts.refused import Refused
from quotas.models import Plan

Status = Literal["active", "suspended", "closed"]
STATUSES: tuple[Status, ...] = get_args(Status)


def new_account(name: str, plan: Plan, external_id: str | None = None) -> Account:
    """An active account that is not saved yet."""
    account = Account(name=name.strip(), plan=plan, plan_since=timezone.now(), public_id=_new_public_id())
    if external_id is not None:
        call_by(account, external_id)
    return account


def _new_public_id() -> str:
    """A new public id that is not an external id: a reference must not mean two accounts."""
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
        words = gettext(
            "An account already has the id %(id)s. Use that id directly, or choose a different external id."
        )
        raise ValidationError({"external_id": words % {"id": external_id}})
    account.external_id = external_id


def rename(account: Account, name: str) -> None:
    """Set the name. An erased account gets no name, because somebody wanted it forgotten."""
    if name.strip() != account.name:
        _refuse_if_erased(account)
        if name.strip() == erased_name(account.public_id):
            raise ValidationError({"name": gettext("Erased accounts have names like this: use a different name.")})
        account.name = name.strip()


def move(account: Account, plan: Plan) -> None:
    """Put the account on a plan. Limits younger than their window count from this moment."""
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
    """Undo the closing: the account returns to its former state, which may be suspended."""
    if account.closed_at is not None:
        _refuse_if_erased(account)
        account.closed_at = None


def set_status(account: Account, status: Status) -> None:
    """Put the account into this state, whatever its state was before."""
    if status == "closed":
        close(account)
        return
    reopen(account)
    (suspend if status == "suspended" else resume)(account)


def erase(account: Account) -> None:
    """Close the account and erase its names. Its external id is released for a new account."""
    close(account)
    account.erased_at = account.erased_at or timezone.now()
    account.name = erased_name(account.public_id)
    account.former_external_id = account.external_id or account.former_external_id
    account.external_id = None


def _refuse_if_closed(account: Account) -> None:
    if account.closed_at is not None:
        raise Refused(gettext("The account %(account)s is closed. Reopen it first.") % {"account": account})


def _refuse_if_erased(account: Account) -> None:
    if account.is_erased:
        words = gettext("The account %(account)s was closed and erased, which cannot be undone. Create a new one.")
        raise Refused(words % {"account": account.public_id})
