"""Writes of accounts: each owns its transaction, writes the audit log and tells the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import transaction

from accounts import caps, standing
from accounts.facts.publish import Publication, change
from accounts.models import (
    Account,
    AccountOverride,
    User,
)
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.limits import costs_of, hold
from accounts.services.record import account_state, lock, record_change
from quotas.models import Plan


def create_account(
    name: str,
    plan: Plan,
    *,
    actor: Actor,
    owner: User | None = None,
    external_id: str | None = None,
    make_so: Callable[[Account], None] | None = None,
) -> tuple[Account, Publication]:
    """Create an active account on a plan; `make_so` sets what else it shall be, in the same transaction."""
    with change() as publication:
        account = standing.new_account(name, plan, external_id)
        account.full_clean(exclude=["plan_since"])
        with transaction.atomic():  # PostgreSQL goes on after a refused INSERT only behind a savepoint
            account.save(force_insert=True)
        if make_so is not None:
            make_so(account)
            account.save()
        if owner is not None:
            account.memberships.create(user=owner, role="owner")
        publication.of_birth(account)
        record_change(actor, "account.create", account, account.public_id, None, account_state(account))
    return account, publication


def move_account(account: Account, plan: Plan, *, actor: Actor) -> Publication:
    """Put the account on another plan. What was used stays used."""
    return change_account(account, "account.move", lambda locked: standing.move(locked, plan), actor=actor)


def suspend_account(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls of the account until it is resumed."""
    return change_account(account, "account.suspend", standing.suspend, actor=actor)


def resume_account(account: Account, *, actor: Actor) -> Publication:
    """End a suspension."""
    return change_account(account, "account.resume", standing.resume, actor=actor)


def close_account(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls of the account until an operator reopens it."""
    return change_account(account, "account.close", standing.close, actor=actor)


def reopen_account(account: Account, *, actor: Actor) -> Publication:
    """Undo the closing. Keys that were not revoked work again; so do the account's people and management keys."""
    return change_account(account, "account.reopen", standing.reopen, actor=actor)


def cap_keys(account: Account, most: int | None, *, actor: Actor) -> Publication:
    """Let the account have so many living keys; None: as many as its plan says. Keys that it has stay."""

    def capped(locked: Account) -> None:
        locked.max_keys = most

    return change_account(account, "account.cap_keys", capped, actor=actor)


def rename_account(account: Account, name: str, *, actor: Actor) -> Publication:
    return change_account(account, "account.rename", lambda locked: standing.rename(locked, name), actor=actor)


def call_account_by(account: Account, external_id: str | None, *, actor: Actor) -> Publication:
    """Give the account another external id; None takes it away."""

    def called(locked: Account) -> None:
        if external_id is None:
            locked.external_id = None
        else:
            standing.call_by(locked, external_id)

    return change_account(account, "account.external_id", called, actor=actor)


def change_account(account: Account, act: str, make_so: Callable[[Account], None], *, actor: Actor) -> Publication:
    """Let `make_so` change the locked account and its overrides; check, save, write down and publish what it did."""
    with change() as publication:
        lock(account)
        before, columns, was_closed = account_state(account), _columns(account), account.closed_at is not None
        make_so(account)
        now = _columns(account)
        changed = [name for name in now if now[name] != columns[name]]
        if changed:
            # What stays is not checked again: a name of before may be one that nobody could give today.
            account.full_clean(exclude=set(now) - set(changed))
            account.save(update_fields=changed)
        after = account_state(account)
        if before != after:
            record_change(actor, act, account, account.public_id, before, after)
        if was_closed is not (account.closed_at is not None):
            publication.of_account_with_keys(account)
        else:  # also if nothing is different: who repeats it because the first answer was "pending" wants it published
            publication.of_account(account)
    return publication


def _columns(account: Account) -> dict[str, Any]:
    return {field.name: getattr(account, field.attname) for field in Account._meta.concrete_fields}


def override_limit(
    account: Account, name: str, amount: int | None, *, actor: Actor, burst: int | None = None
) -> Publication:
    """Give the account another amount for the limit of this name; None takes the override away."""
    with change() as publication:
        lock(account)
        before = account_state(account)
        existing = account.overrides.filter(limit_name=name).first()
        if amount is None:
            if existing is not None:
                existing.delete()
        else:
            limit = account.plan.limits.filter(name=name).first()
            if limit is None:
                known = ", ".join(account.plan.limits.values_list("name", flat=True)) or "none"
                raise Refused(f"The plan {account.plan.name} has no limit named {name!r}; it has: {known}.")
            overridden = replace(limit.value(), amount=amount, burst=limit.burst if burst is None else burst)
            hold([overridden], costs_of(account.plan, None))
            if existing is None:
                caps.require_room_for_an_override(account)
            override = existing or AccountOverride(account=account, limit_name=name)
            override.amount, override.burst = amount, burst
            override.full_clean()
            override.save()
        publication.of_account(account)
        after = account_state(account)
        if before != after:
            record_change(actor, "account.override", account, account.public_id, before, after)
    return publication
