"""What a billing system does with accounts: make them and set them, as often as it likes with the same result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import keys
from accounts.models import Account, AccountOverride
from accounts.publish import Publication, change
from accounts.services import Actor, Refused, account_state, costs_of, hold, record_act
from quotas.models import Catalogue, Plan

Status = Literal["active", "suspended", "closed"]


class Keep(Enum):
    """What None cannot say where it is a value: leave it as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Override:
    """Another amount for a limit of the plan, and perhaps another burst."""

    amount: int
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How an account shall be; None leaves a thing as it is. `overrides` is the whole map."""

    name: str | None = None
    plan: str | None = None
    status: Status | None = None
    overrides: Mapping[str, Override] | None = None
    external_id: str | None = None
    max_keys: int | Keep | None = KEEP  # None: as the plan says


def put_account(external_id: str, wanted: Wanted, *, actor: Actor) -> tuple[Account, bool, Publication]:
    """Make the account that the operator's system knows by this id, or set it; whether it was made."""
    account = Account.objects.filter(external_id=external_id).first()
    if account is None:
        try:
            account, publication = _make(external_id, wanted, actor)
            return account, True, publication
        except (IntegrityError, ValidationError):
            # Somebody made it at the same moment, or something is wrong with what is wanted.
            account = Account.objects.filter(external_id=external_id).first()
            if account is None:
                raise
    return account, False, set_account(account, wanted, actor=actor)


def set_account(account: Account, wanted: Wanted, *, actor: Actor) -> Publication:
    """Let the account be as wanted. What was used stays used; setting it again changes nothing."""
    with change() as publication:
        account.refresh_from_db(from_queryset=Account._base_manager.select_for_update().select_related("plan"))
        before = account_state(account)
        _apply(account, wanted)
        account.full_clean()
        account.save()
        if wanted.overrides is not None:
            _override(account, wanted.overrides)
        after = account_state(account)
        if before != after:
            record_act(actor, "account.set", account.public_id, account=account, before=before, after=after)
        if (before["state"] == "closed") is not (account.state == "closed"):
            publication.of_account_with_keys(account)
        else:  # also if nothing is different: who repeats it because the first answer was "pending" wants it published
            publication.of_account(account)
    return publication


def plan_named(name: str | None) -> Plan:
    """The plan of this name, or the catalogue's default plan."""
    if name is None:
        catalogue = Catalogue.objects.select_related("default_plan").filter(pk=1).first()
        if catalogue is None or catalogue.default_plan is None:
            raise ValidationError({"plan": "Name a plan: the catalogue has no default plan."})
        return catalogue.default_plan
    plan = Plan.objects.filter(name=name).first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("name", flat=True)) or "none"
        raise ValidationError({"plan": f"There is no such plan; there are: {known}."})
    return plan


def _make(external_id: str, wanted: Wanted, actor: Actor) -> tuple[Account, Publication]:
    with change() as publication:
        account = Account(
            external_id=external_id, name=(wanted.name or external_id).strip(), plan=plan_named(wanted.plan),
            plan_since=timezone.now(), public_id=keys.new_account_id(),
        )  # fmt: skip
        _apply(account, replace(wanted, plan=None))
        account.full_clean(exclude=["plan_since"])
        with transaction.atomic():  # PostgreSQL goes on after a refused INSERT only behind a savepoint
            account.save(force_insert=True)
        if wanted.overrides:
            _override(account, wanted.overrides)
        publication.of_birth(account)
        record_act(actor, "account.create", account.public_id, account=account, after=account_state(account))
    return account, publication


def _apply(account: Account, wanted: Wanted) -> None:
    now = timezone.now()
    if wanted.name is not None and account.closed_at:
        # Its name may have been erased: a webhook that comes late must not bring it back.
        if wanted.status != "closed" and wanted.name.strip() != account.name:
            raise Refused(f"The account {account.public_id} is closed, which is for good: it gets no other name.")
    elif wanted.name is not None:
        account.name = wanted.name.strip()
    if wanted.external_id is not None:
        account.external_id = wanted.external_id
    if wanted.max_keys is not KEEP:
        account.max_keys = wanted.max_keys
    if wanted.plan is not None and wanted.plan != account.plan.name:
        account.plan, account.plan_since = plan_named(wanted.plan), now
    if wanted.status is not None and wanted.status != account.state:
        if account.closed_at:
            raise Refused(f"The account {account.public_id} is closed, which is for good: make another one.")
        account.suspended_at = None if wanted.status == "active" else account.suspended_at or now
        account.closed_at = now if wanted.status == "closed" else None


def _override(account: Account, overrides: Mapping[str, Override]) -> None:
    """Make these the account's overrides."""
    limits = {limit.name: limit for limit in account.plan.limits.select_related("model")}
    unknown = [name for name in overrides if name not in limits]
    if unknown:
        known = ", ".join(limits) or "none"
        faults = [f"The plan {account.plan.name} has no limit {name[:63]}; it has: {known}." for name in unknown]
        raise ValidationError({"overrides": faults})
    values = {name: limits[name].value() for name in overrides}
    wanted = [
        replace(values[name], amount=one.amount, burst=values[name].burst if one.burst is None else one.burst)
        for name, one in overrides.items()
    ]
    hold(wanted, costs_of(account.plan, None), of="overrides")
    existing = {row.limit_name: row for row in account.overrides.all()}
    for name, row in existing.items():
        if name not in overrides:
            row.delete()
    for name, one in overrides.items():
        row = existing.get(name) or AccountOverride(account=account, limit_name=name)
        row.amount, row.burst = one.amount, one.burst
        row.full_clean()
        row.save()


def overrides_of(account: Account) -> dict[str, dict[str, Any]]:
    """The account's overrides as the API shows them; reads what was fetched with it."""
    return {row.limit_name: {"amount": row.amount, "burst": row.burst} for row in account.overrides.all()}
