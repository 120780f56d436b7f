"""What every service does around its change: lock the row, and record its state before and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accounts.facts.publish import models_base
from accounts.models import (
    Account,
    ApiKey,
    KeyLimit,
)
from accounts.services.acts import Actor, record_act


def lock(row: Account | ApiKey) -> None:
    """Lock the row and read it again, after any concurrent change."""
    row.refresh_from_db(from_queryset=models_base(type(row)).select_for_update())


def record_change(actor: Actor, act: str, account: Account | None, subject: str, before: Any, after: Any) -> None:
    record_act(actor, act, subject, account=account, before=before, after=after)


def account_state(account: Account) -> dict[str, Any]:
    """The state of an account in the audit log."""
    return {
        "name": account.name,
        "external_id": account.external_id,
        "plan": account.plan.name,
        "state": account.state,
        "overrides": {o.limit_name: {"amount": o.amount, "burst": o.burst} for o in account.overrides.all()},
        "max_keys": account.max_keys,
    }


def key_state(key: ApiKey, limits: Iterable[KeyLimit] | None = None) -> dict[str, Any]:
    """The state of a key in the audit log. Passing its limits saves a query."""
    return {
        "name": key.name,
        "models": key.narrowed_to,
        "networks": key.networks,
        "methods": key.methods,
        "limits": {
            limit.name: f"{limit.amount}/{limit.window}" for limit in (key.limits.all() if limits is None else limits)
        },
        "expires_at": key.expires_at and key.expires_at.isoformat(),
        "paused_at": key.paused_at and key.paused_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
    }
