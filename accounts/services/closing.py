"""Closing an account for good: its export, then the erasure of names and people. Usage stays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Sum
from django.utils import timezone

from accounts import standing
from accounts.facts.publish import Publication, change, models_base
from accounts.models import Account, ApiKey, AuditEvent, Invitation, KeptAnswer, ManagementKey
from accounts.services.accounts import overrides_of
from accounts.services.acts import Actor, record_act
from accounts.services.record import account_state
from quotas.models import UsageHour

_ROWS = 1000
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
    keys = ManagementKey.objects.filter(**of_account)
    keys.update(name=ERASED, created_by=None)
    keys.filter(revoked_at=None).update(revoked_at=now)
    Invitation.objects.filter(**of_account).delete()
    account.memberships.all().delete()
    KeptAnswer.objects.filter(account=account.public_id).delete()


def export(account: Account) -> Iterator[str]:
    """Everything that is stored about the account, as pieces of one JSON document that may not fit into memory."""
    yield f'{{"exported_at":{_dump(timezone.now())},"account":{_dump(_account(account))}'
    for name, rows in (
        ("members", _members(account)),
        ("invitations", _invitations(account)),
        ("keys", _keys(account)),
        ("management_keys", _management_keys(account)),
        ("usage", _usage(account)),
        ("audit", _audit(account)),
    ):
        yield f',"{name}":['
        yield from _joined(rows)
        yield "]"
    yield "}\n"


def _joined(rows: Iterable[Any]) -> Iterator[str]:
    between = ""
    for row in rows:
        yield between + _dump(row)
        between = ","


def _dump(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":"))


def _account(account: Account) -> dict[str, Any]:
    return {
        "id": account.public_id,
        "external_id": account.external_id,
        "name": account.name,
        "status": account.state,
        "plan": account.plan.name,
        "plan_since": account.plan_since,
        "created_at": account.created_at,
        "overrides": overrides_of(account),
        "max_keys": account.max_keys,
        "limits": [
            {"name": limit.name, "per": limit.scope, "amount": limit.amount, "window": limit.window, "unit": limit.unit}
            for limit in account.plan.limits.all()
            if not limit.shadow
        ],
    }


def _members(account: Account) -> Iterator[dict[str, Any]]:
    for member in account.memberships.select_related("user").iterator(_ROWS):
        user = member.user
        yield {"id": member.public_id, "username": user.username, "email": user.email, "role": member.role}


def _invitations(account: Account) -> Iterator[dict[str, Any]]:
    fields = ("public_id", "email", "role", "invited_by", "created_at", "accepted_at", "withdrawn_at", "expires_at")
    for row in account.invitations.values(*fields).iterator(_ROWS):
        yield {"id": row.pop("public_id"), **row}


def _keys(account: Account) -> Iterator[dict[str, Any]]:
    keys = ApiKey.objects.filter(account=account).order_by("pk").select_related("created_by")
    keys = keys.prefetch_related("secrets", "limits__model")
    for key in keys.iterator(_ROWS):
        yield {
            "id": key.public_id,
            "name": key.name,
            "created_by": key.created_by.get_username() if key.created_by else None,
            "made_with": key.made_with,
            "models": key.narrowed_to,
            "networks": key.networks,
            "methods": key.methods,
            "limits": [
                {
                    "name": limit.name,
                    "amount": limit.amount,
                    "window": limit.window,
                    "unit": limit.unit,
                    "model": limit.model.slug if limit.model else "*",
                    "burst": limit.burst,
                }
                for limit in key.limits.all()
            ],
            "metadata": key.metadata,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
            "secrets": [
                {"start": one.start, "created_at": one.created_at, "last_used_at": one.last_used_at}
                for one in key.secrets.all()
            ],
        }


def _management_keys(account: Account) -> Iterator[dict[str, Any]]:
    fields = ("name", "scopes", "start", "made_with", "created_at", "expires_at", "revoked_at", "last_used_at")
    for row in account.management_keys.values("public_id", "created_by__username", *fields).iterator(_ROWS):
        yield {"id": row.pop("public_id"), "created_by": row.pop("created_by__username"), **row}


def _usage(account: Account) -> Iterator[dict[str, Any]]:
    """Per key, model and hour; an hour that was counted in several births is one row."""
    rows = UsageHour.objects.filter(account=account.public_id).order_by("hour", "key", "model")
    sums = rows.values("key", "model", "hour").annotate(
        calls=Sum("allowed"), refused_calls=Sum("refused"), all_units=Sum("units")
    )
    for row in sums.iterator(_ROWS):
        yield {
            "key": row["key"],
            "model": row["model"],
            "hour": row["hour"],
            "allowed": row["calls"],
            "refused": row["refused_calls"],
            "units": row["all_units"],
        }


def _audit(account: Account) -> Iterator[dict[str, Any]]:
    fields = ("at", "actor", "address", "act", "subject", "before", "after")
    yield from AuditEvent.objects.filter(account=account.public_id).order_by("pk").values(*fields).iterator(_ROWS)
