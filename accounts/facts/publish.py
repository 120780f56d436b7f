"""How a change reaches the gate: committed with an outbox row, then published, and only then reported done."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import F, Model
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.facts.delivery import deliver_parts
from accounts.models import Account, ApiKey, OutboxRow
from quotas.deployment import AnotherDeployment
from quotas.models import Catalogue
from runtime.insertion import insert

log = logging.getLogger(__name__)

AT_ONCE = 500  # keys of an account that is being closed, which somebody waits for


class Publication:
    """The outcome of a change: None while its transaction runs, then published or pending."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, str]] = []
        self.published: bool | None = None

    @property
    def is_pending(self) -> bool:
        """Committed, but the gate may not know yet; the worker publishes it within a second of Redis's return."""
        return not self.published

    def of_key(self, key: ApiKey) -> None:
        """This transaction changes the key."""
        self._raise(key, OutboxRow.Part.KEY, key.public_id)

    def of_account(self, account: Account) -> None:
        """This transaction changes the account or its overrides."""
        self._raise(account, OutboxRow.Part.ACCOUNT, account.public_id)

    def of_account_with_keys(self, account: Account) -> None:
        """This transaction closes or reopens the account, which the facts of all its keys depend on."""
        self.of_account(account)
        rows = models_base(ApiKey).filter(account=account, revoked_at=None)  # the others have nothing left to change
        rows.update(version=F("version") + 1, changed_at=timezone.now())
        keys = rows.values_list("public_id", "version")
        made = list(keys)
        insert(OutboxRow, ["subject", "version"], made, part=OutboxRow.Part.KEY)
        if account.closed_at is None or len(made) <= AT_ONCE:
            self.parts += [(OutboxRow.Part.KEY, subject) for subject, _ in made]
        # Otherwise the worker shrinks them: at once the gate only needs to know that the account is closed.

    def of_catalogue(self) -> None:
        """This transaction changes models, plans or their limits."""
        catalogue, _ = Catalogue.objects.get_or_create(pk=1)
        self._raise(catalogue, OutboxRow.Part.CATALOGUE, "")

    def of_births(self, key_ids: Sequence[str]) -> None:
        """This transaction creates all of these keys."""
        part = OutboxRow.Part.KEY
        insert(OutboxRow, ["subject"], ((key_id,) for key_id in key_ids), part=part, version=ApiKey().version)
        self.parts += [(part, key_id) for key_id in key_ids]

    def of_birth(self, row: ApiKey | Account) -> None:
        """This transaction creates the row, whose first version need not be raised."""
        part = OutboxRow.Part.KEY if isinstance(row, ApiKey) else OutboxRow.Part.ACCOUNT
        self._note(part, row.public_id, row.version)

    def _raise(self, row: Account | ApiKey | Catalogue, part: str, subject: str) -> None:
        model: type[Model] = type(row)
        # Redis never makes versions: the row's lock puts concurrent changes in order.
        models_base(model).filter(pk=row.pk).update(version=F("version") + 1, changed_at=timezone.now())
        row.refresh_from_db(fields=["version"])
        self._note(part, subject, row.version)

    def _note(self, part: str, subject: str, version: int) -> None:
        OutboxRow.objects.create(part=part, subject=subject, version=version)
        self.parts.append((part, subject))


def models_base(model: type[Model]) -> Any:
    """The unguarded manager, only for services that also publish."""
    return model._base_manager


@contextmanager
def change() -> Iterator[Publication]:
    """One transaction with its outbox rows; published when the outermost transaction has committed."""
    publication = Publication()
    with transaction.atomic():
        yield publication
        transaction.on_commit(lambda: _publish_now(publication))


def _publish_now(publication: Publication) -> None:
    if not publication.parts:
        publication.published = True
        return
    try:
        deliver_parts(dict.fromkeys(publication.parts))
    except (RedisError, DatabaseError) as error:
        # It is committed all the same and the outbox row remains. Reporting a failure would make people do it twice.
        publication.published = False
        if isinstance(error, AnotherDeployment):
            log.error("a change is pending: %s", error)
            return
        log.warning("a change is pending: redis or the database cannot be reached (%s)", type(error).__name__)
    else:
        publication.published = True
