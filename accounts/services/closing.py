"""Closing an account permanently: names and people are erased, usage stays. api/export.py exports it before."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from accounts import standing
from accounts.facts.publish import Publication, change, models_base
from accounts.models import Account, ApiKey, Invitation, KeptAnswer, ManagementKey, Notification
from accounts.services.acts import Actor, record_act
from accounts.services.record import account_state
from accounts.services.secrets import forget_addresses

ERASED = "erased"


def close_and_erase(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls permanently, and erase names and people. Usage stays, by public ids, and so does the audit log.

    Repeating it is not an error, and erases anything that was added in between (there should be nothing).
    """
    with change() as publication:
        account.refresh_from_db(from_queryset=Account._base_manager.select_for_update())
        before = account_state(account)
        standing.erase(account)
        account.save()
        _erase(account, timezone.now())
        if before["state"] != "closed":
            after = {"state": "closed", "plan": account.plan.name}
            record_act(actor, "account.close", account.public_id, account=account, after=after)
            publication.of_account_with_keys(account)
        else:
            publication.of_account(account)
    return publication


def _erase(account: Account, now: Any) -> None:
    """The gate knows no names, so nothing here needs publishing, except that the account is closed."""
    of_account = {"account": account}
    models_base(ApiKey).filter(**of_account).update(name=ERASED, metadata={}, created_by=None)
    forget_addresses(account)
    keys = ManagementKey.objects.filter(**of_account)
    keys.update(name=ERASED, created_by=None)
    keys.filter(revoked_at=None).update(revoked_at=now)
    Invitation.objects.filter(**of_account).delete()
    account.memberships.all().delete()
    KeptAnswer.objects.filter(account=account.public_id).delete()
    Notification.objects.filter(account=account.public_id).delete()
