"""Many keys and accounts at once: a few queries for a thousand of them, where a snapshot of one takes several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from django.db.models import Q, QuerySet, Sum

from accounts.facts.snapshot import (
    KeyRow,
    PartFacts,
    SecretRow,
    Taken,
    column_of,
    read_account,
    read_catalogue,
    read_key,
    usage_of,
)
from accounts.models import Account, ApiKey, KeyLimit, KeySecret
from quotas.limits import CalendarWindow, Limit
from runtime.among import Among, among

Item = TypeVar("Item")

TOGETHER = 1000
PAGE = 5000  # keys that are read at once


@dataclass(slots=True)
class TakenTogether:
    """What was taken from calendar limits by any of these accounts and their keys; one query for each kind of limit."""

    accounts: Sequence[str]
    _found: dict[tuple[object, ...], dict[str, int]] = field(default_factory=dict)

    def __call__(self, subject: str, limit: Limit, window: CalendarWindow) -> int:
        kind = (limit.scope, limit.model, limit.unit, window.start)
        if kind not in self._found:
            self._found[kind] = self._read(limit, window)
        return self._found[kind].get(subject, 0)

    def _read(self, limit: Limit, window: CalendarWindow) -> dict[str, int]:
        of = "key" if limit.scope == "key" else "account"
        rows = usage_of(limit, window).filter(among("account", self.accounts)).order_by()
        return dict(rows.values_list(of).annotate(sum=Sum(column_of(limit))).values_list(of, "sum"))


_COLUMNS = KeyRow._fields[:-1]


def keys_for_facts() -> QuerySet[ApiKey, tuple[Any, ...]]:
    """Keys as rows of the columns that a gate needs."""
    return ApiKey.objects.order_by().values_list(*_COLUMNS)


def keys_of_accounts(account_ids: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    """All keys of these accounts, page by page: one account alone may have more than fit into memory."""
    left, after = sorted(account_ids), Q()
    while left:
        keys = keys_for_facts().filter(after, among("account_id", left)).order_by("account_id", "pk")
        page = list(keys[:PAGE])
        yield from page
        if len(page) < PAGE:
            return
        pk, account = page[-1][:2]
        left = [one for one in left if one >= account]
        after = Q(account_id__gt=account) | Q(pk__gt=pk)


@dataclass(frozen=True, slots=True)
class AccountsTogether:
    """Accounts and their facts, by their primary keys, with what the facts of their keys depend on."""

    catalogue: PartFacts
    accounts: Mapping[int, Account]
    parts: Mapping[int, PartFacts]
    taken: Taken


def read_together(chosen: Among) -> AccountsTogether:
    """The accounts that meet this condition."""
    catalogue = read_catalogue()
    rows = list(Account.objects.filter(chosen).select_related("plan").prefetch_related("overrides"))
    taken = TakenTogether([account.public_id for account in rows])
    parts = {account.pk: read_account(account, catalogue, taken) for account in rows}
    return AccountsTogether(catalogue, {account.pk: account for account in rows}, parts, taken)


def read_keys(rows: Iterable[tuple[Any, ...]], whose: AccountsTogether) -> Iterator[tuple[KeyRow, PartFacts]]:
    """Each key with its facts; secrets and limits are fetched here, for a thousand keys at a time.

    Django's own prefetching makes a query set for each key and relation, which costs more than all the rest.
    """
    for some in in_pieces(rows, TOGETHER):
        keys = [KeyRow.of(row, whose.accounts) for row in some]
        pks = [key.pk for key in keys]
        secrets, limits = _secrets_of(pks), _limits_of(pks)
        for key in keys:
            account, its, own = whose.parts[key.account_id], secrets.get(key.pk, ()), limits.get(key.pk, ())
            yield key, read_key(key, account, whose.catalogue, secrets=its, limits=own, taken=whose.taken)


def _secrets_of(keys: Sequence[int]) -> dict[int, list[SecretRow]]:
    """In the order in which a key's own secrets are read."""
    found: dict[int, list[SecretRow]] = {}
    rows = KeySecret.objects.filter(among("key_id", keys))
    for key, *secret in rows.values_list("key_id", *SecretRow._fields):
        found.setdefault(key, []).append(SecretRow(*secret))
    return found


def _limits_of(keys: Sequence[int]) -> dict[int, list[KeyLimit]]:
    found: dict[int, list[KeyLimit]] = {}
    for limit in KeyLimit.objects.filter(among("key_id", keys)).select_related("model"):
        found.setdefault(limit.key_id, []).append(limit)
    return found


def in_pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    source = iter(items)
    while piece := list(islice(source, size)):
        yield piece
