"""What a billing system does with accounts: make them and set them, as often as it likes with the same result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts import standing
from accounts.facts.publish import Publication
from accounts.models import Account, AccountOverride
from accounts.services.accounts import change_account, create_account
from accounts.services.acts import Actor
from accounts.services.limits import costs_of, hold
from accounts.standing import Status
from quotas.models import Catalogue, Plan


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
    """Make the account that the operator's system knows by this id, or set it; whether it was made.

    An account that was erased is nobody's any more: whoever comes back gets a new one, and that they are gone is true
    of the old one already.
    """
    account = _known_by(external_id)
    if account is None and wanted.status == "closed":
        account = Account.objects.filter(former_external_id=external_id).order_by("pk").last()
        if account is not None:
            return account, False, set_account(account, Wanted(status="closed"), actor=actor)
    if account is None:
        try:
            account, publication = _make(external_id, wanted, actor)
            return account, True, publication
        except (IntegrityError, ValidationError):
            # Somebody made it at the same moment, or something is wrong with what is wanted.
            account = _known_by(external_id)
            if account is None:
                raise
    return account, False, set_account(account, wanted, actor=actor)


def _known_by(external_id: str) -> Account | None:
    return Account.objects.filter(external_id=external_id).first()


def set_account(account: Account, wanted: Wanted, *, actor: Actor) -> Publication:
    """Let the account be as wanted. What was used stays used; setting it again changes nothing."""
    return change_account(account, "account.set", lambda locked: _apply(locked, wanted), actor=actor)


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
    return create_account(
        external_id if wanted.name is None else wanted.name, plan_named(wanted.plan), external_id=external_id,
        make_so=lambda account: _apply(account, replace(wanted, name=None, plan=None)), actor=actor,
    )  # fmt: skip


def _apply(account: Account, wanted: Wanted) -> None:
    if wanted.status is not None:
        standing.set_status(account, wanted.status)
    # A closed account that is told again that it is closed may have been erased since: its name is not wanted then.
    if wanted.name is not None and not (wanted.status == "closed" and account.is_erased):
        standing.rename(account, wanted.name)
    if wanted.external_id is not None and wanted.external_id != account.external_id:
        standing.call_by(account, wanted.external_id)
    if wanted.plan is not None:
        standing.move(account, plan_named(wanted.plan))
    if wanted.max_keys is not KEEP:
        account.max_keys = wanted.max_keys
    if wanted.overrides is not None:
        _override(account, wanted.overrides)


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
