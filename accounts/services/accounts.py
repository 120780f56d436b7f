"""The one way to write an account. Commands, the admin and the REST API all change accounts by these rules.

An account is locked, changed by the rules of `standing`, checked, saved, recorded in the audit log and published in one
transaction. The audit log gets one row for each thing that changed, in the same words whichever way the change came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext

from accounts import caps, standing
from accounts.facts.publish import Publication, change
from accounts.models import Account, AccountOverride, User
from accounts.services.acts import Actor
from accounts.services.limits import costs_of, hold
from accounts.services.record import account_state, lock, record_change
from accounts.services.secrets import forget_addresses
from accounts.standing import Status
from quotas.models import Catalogue, Plan


class Keep(Enum):
    """Marks an attribute that an edit leaves as it is, where None is a value of its own."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class OverrideAmount:
    """The amount that replaces a plan limit's, and optionally the burst."""

    amount: int
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEdit:
    """The attributes to change; KEEP leaves one as it is."""

    name: str | Keep = KEEP
    external_id: str | Keep | None = KEEP  # None removes it
    plan: str | Keep = KEEP  # by name
    max_keys: int | Keep | None = KEEP  # None: as many as the plan allows
    status: Status | Keep = KEEP  # whatever the status was before: active reopens a closed account
    overrides: Mapping[str, OverrideAmount] | Keep = KEEP  # the complete map, by limit name


def create_account(
    name: str,
    plan: Plan,
    *,
    actor: Actor,
    owner: User | None = None,
    external_id: str | None = None,
    edit: AccountEdit = AccountEdit(),
) -> tuple[Account, Publication]:
    """Create an active account on a plan, then apply `edit` to it in the same transaction."""
    with change() as publication:
        account = standing.new_account(name, plan, external_id)
        account.full_clean(exclude=["plan_since"])
        with transaction.atomic():  # PostgreSQL can continue after a refused INSERT only behind a savepoint
            account.save(force_insert=True)
        if edit != AccountEdit():
            _apply(account, edit)
            account.full_clean(exclude=["plan_since"])
            account.save()
        if owner is not None:
            account.memberships.create(user=owner, role="owner")
        publication.of_birth(account)
        record_change(actor, "account.create", account, account.public_id, None, account_state(account))
    return account, publication


def change_account(account: Account, edit: AccountEdit, *, actor: Actor) -> Publication:
    """Make the account as `edit` says. Usage is kept; repeating the same edit changes nothing."""
    return _change(account, lambda locked: _apply(locked, edit), actor)


def move_account(account: Account, plan: Plan, *, actor: Actor) -> Publication:
    """Put the account on a different plan. Usage is kept."""
    return change_account(account, AccountEdit(plan=plan.name), actor=actor)


def rename_account(account: Account, name: str, *, actor: Actor) -> Publication:
    return change_account(account, AccountEdit(name=name), actor=actor)


def call_account_by(account: Account, external_id: str | None, *, actor: Actor) -> Publication:
    """Set the external id; None removes it."""
    return change_account(account, AccountEdit(external_id=external_id), actor=actor)


def cap_keys(account: Account, most: int | None, *, actor: Actor) -> Publication:
    """Set how many living keys the account may have; None: as many as its plan allows. Existing keys are kept."""
    return change_account(account, AccountEdit(max_keys=most), actor=actor)


def override_limit(
    account: Account, name: str, amount: int | None, *, actor: Actor, burst: int | None = None
) -> Publication:
    """Replace the amount of the plan limit with this name; None removes the override."""
    return override_limits(account, {name: None if amount is None else OverrideAmount(amount, burst)}, actor=actor)


def override_limits(account: Account, changes: Mapping[str, OverrideAmount | None], *, actor: Actor) -> Publication:
    """Change these overrides; None removes one. Overrides that are not mentioned are kept."""

    def overridden(locked: Account) -> None:
        overrides = {row.limit_name: OverrideAmount(row.amount, row.burst) for row in locked.overrides.all()}
        merged = {**overrides, **changes}
        _override(locked, {name: one for name, one in merged.items() if one is not None})

    return _change(account, overridden, actor)


def suspend_account(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls of the account until it is resumed."""
    return _change(account, standing.suspend, actor)


def resume_account(account: Account, *, actor: Actor) -> Publication:
    """End a suspension."""
    return _change(account, standing.resume, actor)


def close_account(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls of the account until an operator reopens it."""
    return _change(account, standing.close, actor)


def reopen_account(account: Account, *, actor: Actor) -> Publication:
    """Undo the closing. Keys that were not revoked work again, and so do its members and management keys."""
    return _change(account, standing.reopen, actor)


def plan_named(name: str | None) -> Plan:
    """The plan with this name; for None the catalogue's default plan."""
    if name is None:
        catalogue = Catalogue.objects.select_related("default_plan").filter(pk=1).first()
        if catalogue is None or catalogue.default_plan is None:
            raise ValidationError({"plan": gettext("Specify a plan: the catalogue has no default plan.")})
        return catalogue.default_plan
    plan = Plan.objects.filter(name=name).first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("name", flat=True)) or "none"
        raise ValidationError({"plan": f"There is no such plan. Available plans: {known}."})
    return plan


def overrides_of(account: Account) -> dict[str, dict[str, Any]]:
    """The account's overrides as the API shows them; uses prefetched rows."""
    return {row.limit_name: {"amount": row.amount, "burst": row.burst} for row in account.overrides.all()}


def _change(account: Account, make_so: Callable[[Account], None], actor: Actor) -> Publication:
    with change() as publication:
        lock(account)
        before, columns, was_closed = account_state(account), _columns(account), account.closed_at is not None
        make_so(account)
        now = _columns(account)
        changed = [name for name in now if now[name] != columns[name]]
        if changed:
            # Unchanged values are not validated again: rules may have become stricter since they were written.
            account.full_clean(exclude=set(now) - set(changed))
            account.save(update_fields=changed)
        _record(actor, account, before, account_state(account))
        if account.closed_at is not None:
            forget_addresses(account)
        if was_closed is not (account.closed_at is not None):
            publication.of_account_with_keys(account)
        else:  # also if nothing changed: a caller who repeats a change that was pending needs it published
            publication.of_account(account)
    return publication


def _columns(account: Account) -> dict[str, Any]:
    return {field.name: getattr(account, field.attname) for field in Account._meta.concrete_fields}


_ACTS = {
    "name": "account.rename",
    "external_id": "account.external_id",
    "max_keys": "account.cap_keys",
    "plan": "account.move",
    "overrides": "account.override",
}


def _record(actor: Actor, account: Account, before: dict[str, Any], after: dict[str, Any]) -> None:
    acts = {**_ACTS, "state": _act_of_state(before["state"], after["state"])}
    for field, act in acts.items():
        if before[field] != after[field]:
            record_change(actor, act, account, account.public_id, {field: before[field]}, {field: after[field]})


def _act_of_state(before: str, after: str) -> str:
    if after == "closed":
        return "account.close"
    if before == "closed":
        return "account.reopen"
    return "account.suspend" if after == "suspended" else "account.resume"


def _apply(account: Account, edit: AccountEdit) -> None:
    if edit.status is not KEEP:
        standing.set_status(account, edit.status)
    # A request that closes an account again may still carry the name that was erased since: ignore it.
    if edit.name is not KEEP and not (edit.status == "closed" and account.is_erased):
        standing.rename(account, edit.name)
    if edit.external_id is not KEEP and edit.external_id != account.external_id:
        standing.call_by(account, edit.external_id)
    if edit.plan is not KEEP:
        standing.move(account, plan_named(edit.plan))
    if edit.max_keys is not KEEP:
        account.max_keys = edit.max_keys
    if edit.overrides is not KEEP:
        _override(account, edit.overrides)


def _override(account: Account, overrides: Mapping[str, OverrideAmount]) -> None:
    """Make these the account's overrides. Only those that change are checked against the plan's limits."""
    existing = {row.limit_name: row for row in account.overrides.all()}
    changed = {
        name: one
        for name, one in overrides.items()
        if name not in existing or (existing[name].amount, existing[name].burst) != (one.amount, one.burst)
    }
    _check_overrides(account, changed)
    if len(overrides) > len(existing):
        caps.require_room_for_overrides(account, len(overrides))
    for name, row in existing.items():
        if name not in overrides:
            row.delete()
    for name, one in changed.items():
        row = existing.get(name) or AccountOverride(account=account, limit_name=name)
        row.amount, row.burst = one.amount, one.burst
        row.full_clean()
        row.save()


def _check_overrides(account: Account, overrides: Mapping[str, OverrideAmount]) -> None:
    if not overrides:
        return
    limits = {limit.name: limit.value() for limit in account.plan.limits.select_related("model")}
    unknown = [name for name in overrides if name not in limits]
    if unknown:
        plan, known = account.plan.name, ", ".join(limits) or "none"
        faults = [f"The plan {plan} has no limit {name[:63]}; it has: {known}." for name in unknown]
        raise ValidationError({"overrides": faults})
    replaced = [
        replace(limits[name], amount=one.amount, burst=limits[name].burst if one.burst is None else one.burst)
        for name, one in overrides.items()
    ]
    hold(replaced, costs_of(account.plan, None), of="overrides")
