"""The facts of a key, its account and the catalogue as the database has them at one moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet, Sum

from accounts.facts.facts import account_from_json
from accounts.models import Account, ApiKey, KeyLimit, KeySecret
from quotas.buckets import clock
from quotas.facts import catalogue_from_json, limit_to_json
from quotas.limits import CALENDAR, EVERY_MODEL, SECOND, UNITS, CalendarWindow, Limit, calendar_window
from quotas.models import Catalogue, Plan, ServedModel, UsageHour
from quotas.terms import limits_in_force
from store import names


class KeyRow(NamedTuple):
    """What the gate needs of a key. Making a model of each row would take longer than reading it."""

    pk: int
    account_id: int
    public_id: str
    version: int
    narrowed_to: list[str] | None
    networks: list[str]
    methods: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    paused_at: datetime | None
    account: Account

    @classmethod
    def of(cls, row: tuple[Any, ...], accounts: Mapping[int, Account]) -> KeyRow:
        return cls._make((*row, accounts[row[1]]))


class SecretRow(NamedTuple):
    """What the gate needs of a key's secret."""

    pk: int
    digest: str
    pepper: str
    expires_at: datetime | None
    is_imported: bool


Taken = Callable[[str, Limit, CalendarWindow], int]  # a subject and a limit → what was taken in a window


@dataclass(frozen=True, slots=True)
class Counter:
    """How much was taken from a calendar limit in the current window, by usage."""

    subject: str
    limit: Limit
    window: CalendarWindow
    taken: int

    def fields(self) -> tuple[str, str, str]:
        return names.counter(self.subject[-8:], self.limit.model, self.limit.unit, self.limit.window)


@dataclass(frozen=True, slots=True)
class PartFacts:
    """A part's facts with their version, and its calendar counters."""

    version: int
    json: str
    counters: tuple[Counter, ...] = ()
    imported: tuple[str, ...] = ()  # digests by which an imported key is found
    buried: tuple[str, ...] | None = None  # calendar counters that a part may have had which is over


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision about one key needs. `key` is None if it does not exist."""

    catalogue: PartFacts
    account: PartFacts | None = None
    key: PartFacts | None = None


@contextmanager
def one_moment() -> Iterator[None]:
    """A transaction whose reads all see the same moment (REPEATABLE READ)."""
    if connection.in_atomic_block:
        yield  # the caller's transaction decides
    elif connection.vendor == "sqlite":
        # DEFERRED, because a read must not queue for the writers' lock, as atomic() does here.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield


def read_all(public_id: str) -> Snapshot:
    """The key, its account and the catalogue, at one moment."""
    with one_moment():
        catalogue = read_catalogue()
        key = (
            ApiKey.objects.filter(public_id=public_id)
            .select_related("account__plan")
            .prefetch_related("secrets", "limits__model", "account__overrides")
            .first()
        )
        if key is None:
            return Snapshot(catalogue)
        account = read_account(key.account, catalogue)
        return Snapshot(catalogue, account, read_key(key, account, catalogue))


def read_account_alone(public_id: str) -> Snapshot:
    """The account and the catalogue, at one moment."""
    with one_moment():
        catalogue = read_catalogue()
        account = Account.objects.select_related("plan").prefetch_related("overrides").get(public_id=public_id)
        return Snapshot(catalogue, read_account(account, catalogue))


def read_catalogue() -> PartFacts:
    version = Catalogue.objects.values_list("version", flat=True).get(pk=1)
    rows = list(ServedModel.objects.all())
    models = {row.slug: {"path": row.path, "cost": row.cost, "enabled": row.enabled} for row in rows}
    plan_rows = list(Plan.objects.prefetch_related("served_models", "limits__model"))
    named = {model.slug for plan in plan_rows for model in plan.served_models.all()}
    left_out = {row.slug for row in rows if not row.auto_include} - named
    plans = {
        plan.name: {
            "models": sorted(_included(plan, models.keys(), left_out)),
            "limits": [limit_to_json(limit.value()) for limit in plan.limits.all()],
        }
        for plan in plan_rows
    }
    # Only plans' names, versions and slugs: nothing here is secret.
    foreign = KeySecret.objects.exclude(pepper=F("minted_pepper")).exists()
    return PartFacts(version, _dump({"version": version, "models": models, "plans": plans, "foreign_checks": foreign}))


def _included(plan: Plan, slugs: Iterable[str], left_out: set[str]) -> set[str]:
    """The plan's models, as the gate gets them. "*" is spelled out where new models are left out of it, so the gate
    need not know which models are new (docs/decisions/0010)."""
    if not plan.all_models:
        return {model.slug for model in plan.served_models.all()}
    return {EVERY_MODEL} if plan.auto_include or not left_out else set(slugs) - left_out


def read_account(account: Account, catalogue: PartFacts, taken: Taken | None = None) -> PartFacts:
    """`taken`: what usage says was taken from calendar limits, if it was read for many subjects together."""
    if account.closed_at is not None:
        return _closed(account, catalogue)
    text = _dump(
        {
            "public_id": account.public_id,
            "version": account.version,
            "state": account.state,
            "plan": account.plan.name,
            "plan_since": _micros(account.plan_since),
            "overrides": {o.limit_name: {"amount": o.amount, "burst": o.burst} for o in account.overrides.all()},
        }
    )
    limits = [limit for limit in _limits(catalogue.json, text, ()) if limit.scope == "account"]
    return PartFacts(account.version, text, tuple(_counters(account.public_id, limits, taken or taken_by_usage)))


def read_key(
    key: ApiKey | KeyRow,
    account: PartFacts,
    catalogue: PartFacts,
    *,
    secrets: Sequence[SecretRow] = (),
    limits: Iterable[KeyLimit] = (),
    taken: Taken | None = None,
) -> PartFacts:
    """A model's secrets and limits are read here, those of a row come with it."""
    if isinstance(key, ApiKey):
        secrets, limits = secrets_of(key), key.limits.all()
    imported = tuple(secret.digest for secret in secrets if secret.is_imported)
    if key.revoked_at is not None or key.account.closed_at is not None:
        return _over(key, catalogue, imported)
    own = tuple(limit.as_limit("key") for limit in limits)
    text = _dump(
        {
            "public_id": key.public_id,
            "version": key.version,
            "secrets": [
                {"id": s.pk, "digest": s.digest, "pepper": s.pepper, "until": _seconds(s.expires_at)} for s in secrets
            ],
            "models": key.narrowed_to,
            "networks": key.networks,
            "methods": key.methods,
            "limits": [limit_to_json(limit) for limit in own],
            "expires": _seconds(key.expires_at),
            **_standing(key),
        }
    )
    in_force = (limit for limit in _limits(catalogue.json, account.json, own) if limit.scope == "key")
    counters = _counters(key.public_id, in_force, taken or taken_by_usage)
    return PartFacts(key.version, text, tuple(counters), imported)


def _standing(key: ApiKey | KeyRow) -> dict[str, bool]:
    """A paused key is called revoked, too: gates older than pausing ignore `paused`, and refuse it in the same words.

    A key that is not paused has the same facts as before there were paused ones, so an update publishes nothing anew.
    """
    return {"revoked": False} if key.paused_at is None else {"revoked": True, "paused": True}


def _closed(account: Account, catalogue: PartFacts) -> PartFacts:
    """What the gate needs of a closed account."""
    text = _dump(
        {
            "public_id": account.public_id,
            "version": account.version,
            "state": account.state,
            "plan": account.plan.name,
            "plan_since": 0,
            "overrides": {},
        }
    )
    return PartFacts(account.version, text, buried=_all_counters(catalogue))


def secrets_of(key: ApiKey) -> list[SecretRow]:
    return [SecretRow(s.pk, s.digest, s.pepper, s.expires_at, s.is_imported) for s in key.secrets.all()]


def _over(key: ApiKey | KeyRow, catalogue: PartFacts, imported: tuple[str, ...]) -> PartFacts:
    """What the gate needs of a key that is revoked or of a closed account: no secrets and no narrowings."""
    revoked = key.revoked_at is not None
    text = _dump(
        {
            "public_id": key.public_id,
            "version": key.version,
            "secrets": [],
            "models": None,
            "networks": [],
            "methods": [],
            "limits": [],
            "expires": None if revoked else _seconds(key.expires_at),
            "revoked": revoked,
        }
    )
    return PartFacts(key.version, text, imported=imported, buried=_all_counters(catalogue))


def _all_counters(catalogue: PartFacts) -> tuple[str, ...]:
    """Every possible calendar counter, including those of limits that the plan or key had earlier."""
    models = (EVERY_MODEL, *_parsed(catalogue.json).models)
    return tuple(f"{model}:{unit}:{window}" for model in models for unit in UNITS for window in CALENDAR)


@lru_cache(64)  # the keys of an account follow each other, and hardly any has limits of its own
def _limits(catalogue_json: str, account_json: str, own: tuple[Limit, ...]) -> tuple[Limit, ...]:
    account = account_from_json(account_json)
    plan = _parsed(catalogue_json).plans[account.plan]
    return limits_in_force(plan.limits, account.overrides, account.plan_since, own)


_parsed = lru_cache(4)(catalogue_from_json)  # so that a bulk publication parses its catalogue once


def _counters(subject: str, limits: Iterable[Limit], taken: Taken) -> Iterator[Counter]:
    hour = clock.hour()  # Redis's hour in a gate that has asked Redis: the script says which window it lacks
    for limit in limits:
        if not limit.is_smoothed:
            window = calendar_window(limit.window, hour)
            yield Counter(subject, limit, window, taken(subject, limit, window))


def taken_by_usage(subject: str, limit: Limit, window: CalendarWindow) -> int:
    """How much a key or an account has taken from a calendar limit in this window, by usage."""
    of = Q(key=subject) if limit.scope == "key" else Q(account=subject)
    return int(usage_of(limit, window).filter(of).aggregate(sum=Sum(column_of(limit)))["sum"] or 0)


def usage_of(limit: Limit, window: CalendarWindow) -> QuerySet[UsageHour]:
    """The hours that count for a limit, of all subjects."""
    rows = UsageHour.objects.filter(hour__gte=datetime.fromtimestamp(window.start, UTC))
    return rows if limit.model == EVERY_MODEL else rows.filter(model=limit.model)


def column_of(limit: Limit) -> str:
    return "units" if limit.unit == "units" else "allowed"


_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * SECOND)
