"""Accounts as a billing system writes them: by the external id, as often as it likes, with the same result."""

from __future__ import annotations

from dataclasses import replace

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.facts.publish import Publication
from accounts.models import Account
from accounts.services.accounts import KEEP, AccountEdit, change_account, create_account, plan_named
from accounts.services.acts import Actor


def put_account(external_id: str, edit: AccountEdit, *, actor: Actor) -> tuple[Account, bool, Publication]:
    """Create the account with this external id, or change it. Returns the account and whether it was created.

    Erasing an account releases its external id, so a customer who returns gets a new account. A request to close an
    account that was erased already is answered with the erased one.
    """
    account = _known_by(external_id)
    if account is None and edit.status == "closed":
        account = Account.objects.filter(former_external_id=external_id).order_by("pk").last()
        if account is not None:
            return account, False, change_account(account, AccountEdit(status="closed"), actor=actor)
    if account is None:
        try:
            account, publication = _create(external_id, edit, actor)
            return account, True, publication
        except (IntegrityError, ValidationError):
            # Either it was created concurrently, or the edit is invalid.
            account = _known_by(external_id)
            if account is None:
                raise
    return account, False, change_account(account, edit, actor=actor)


def _known_by(external_id: str) -> Account | None:
    return Account.objects.filter(external_id=external_id).first()


def _create(external_id: str, edit: AccountEdit, actor: Actor) -> tuple[Account, Publication]:
    name = external_id if edit.name is KEEP else edit.name
    plan = plan_named(None if edit.plan is KEEP else edit.plan)
    rest = replace(edit, name=KEEP, plan=KEEP)
    return create_account(name, plan, external_id=external_id, edit=rest, actor=actor)
