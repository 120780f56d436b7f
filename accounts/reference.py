"""How operators refer to an account: by public id or external id, which only they can set. Never by its name."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from accounts.models import Account
from accounts.refused import Refused
from runtime.among import among

MOST_NAMESAKES = 10


def resolve(reference: str) -> Account | None:
    """The account with this id or external id, of which there is at most one (`standing.call_by`)."""
    return Account.objects.select_related("plan").filter(is_meant_by([reference])).first()


def must_resolve(reference: str) -> Account:
    """The account with this id or external id. Raises Refused with the ids of accounts that have this name."""
    account = resolve(reference)
    if account is None:
        raise Refused(unknown(reference))
    return account


def is_meant_by(references: Iterable[str]) -> Q:
    """The condition for accounts to which one of these references refers."""
    wanted = list(references)
    return Q(among("public_id", wanted)) | Q(among("external_id", wanted))


def unknown(reference: str) -> str:
    """Why there is no such account, and which accounts may be meant."""
    told = f"No account has the id or external id {reference[:200]!r}."
    found = namesakes(reference)
    if not found:
        return told
    return f"{told} A name can't be used because it may not be unique. Accounts with this name: {in_words(found)}."


def namesakes(name: str) -> list[str]:
    """The ids of accounts with this name, at most one more than is shown."""
    rows = Account.objects.filter(name=name).order_by("pk")
    return list(rows.values_list("public_id", flat=True)[: MOST_NAMESAKES + 1])


def in_words(ids: list[str]) -> str:
    more = " and others" if len(ids) > MOST_NAMESAKES else ""
    return ", ".join(ids[:MOST_NAMESAKES]) + more
