"""One turn of keep_ledger: each step may be repeated, interrupted, or run by two workers at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from django.utils import timezone

from accounts.facts import delivery
from accounts.imports.jobs import work_on_imports
from accounts.models import SeenStore
from accounts.notifications.postman import Postman
from accounts.services.secrets import note_last_uses, store_new_digests
from accounts.services.sweeping import sweep
from quotas import deployment
from quotas.usage.days import keep_days
from quotas.usage.ledger import begin_new_births, copy_usage
from quotas.usage.sums import keep_sums
from store import clients, names
from store.condition import memory_warning

RECENT = timedelta(hours=1)
EVERY_SECONDS = 60
IMPORT_SECONDS = 0.5  # of a turn
WARN_EVERY_SECONDS = 3600
UNKNOWN = "unknown"
DAYS_SECONDS = 0.2  # of a turn, to backfill daily totals from before their table existed
SUMS_SECONDS = 0.2  # of a turn, for sums of days

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Turn:
    """What one turn did."""

    published: int = 0
    republished: int = 0
    copied: int = 0
    redigested: int = 0
    imported: int = 0

    @property
    def is_news(self) -> bool:
        return bool(self.published or self.republished or self.redigested or self.imported)

    def __str__(self) -> str:
        return (
            f"published {self.published} changes, published {self.republished} parts again, "
            f"copied usage of {self.copied} key-hours, stored {self.redigested} digests under the new pepper, "
            f"went through {self.imported} lines of imports"
        )


class Worker:
    """Remembers which Redis it last spoke to, and when it last published recent changes again."""

    def __init__(self) -> None:
        self._server = ""
        self._republished_at = self._swept_at = -float(EVERY_SECONDS)
        self._warned_at = float("-inf")
        self.deployment: str | None = None  # its identity, once it is known
        self._swept: float | None = None
        self.postman = Postman()

    def turn(self) -> Turn:
        """Do what is due. Raises RedisError or DatabaseError; the next turn continues from there."""
        turn = Turn()
        self.deployment = deployment.claim()  # usage of another deployment's keys is not ours to copy
        turn.republished = self._mend()
        turn.published = delivery.deliver_all()
        partitions = delivery.partitions_in_use()
        copied = copy_usage(partitions)
        turn.copied = copied.hashes
        keep_days(DAYS_SECONDS)
        keep_sums(SUMS_SECONDS)
        note_last_uses(copied.last_uses)
        self.postman.note(copied.accounts)
        self.postman.go_if_due()
        turn.redigested = store_new_digests(partitions)
        self._sweep()
        turn.imported = work_on_imports(IMPORT_SECONDS)
        return turn

    def _sweep(self) -> None:
        """Delete expired rows, once a minute."""
        if monotonic() - self._swept_at >= EVERY_SECONDS:
            self._watch_memory()
            sweep()
            self._swept_at = self._swept = monotonic()

    def report(self) -> dict[str, object]:
        """For the worker's report of itself."""
        return {"swept_ago": None if self._swept is None else round(monotonic() - self._swept)}

    def _watch_memory(self) -> None:
        """Log that Redis is filling up: at once, and again each hour while it lasts."""
        warning = memory_warning(clients.conditions())
        if warning is None:
            self._warned_at = float("-inf")
        elif monotonic() - self._warned_at >= WARN_EVERY_SECONDS:
            log.warning("%s", warning)
            self._warned_at = monotonic()

    def _mend(self) -> int:
        """Publish again what a promoted stale replica or a restored old copy may have undone."""
        client = clients.sync_client()
        server, is_marked = _identity(client), bool(client.exists(names.LIFE))
        is_another = self._last_seen() not in ("", server)
        if is_marked and server == self._server and monotonic() - self._republished_at < EVERY_SECONDS:
            return 0
        if is_another:
            # It may be an old copy, in which counts and versions are lower than in the database.
            begin_new_births()
        count = 0
        if is_another or not is_marked:  # an old copy may lack the mark, too
            count = delivery.publish_everything()
        else:
            delivery.publish_changed_since(timezone.now() - RECENT)
        if not is_marked:
            client.set(names.LIFE, timezone.now().isoformat())
        self._saw(server)
        return count

    def _last_seen(self) -> str:
        """A rebooted host restarts Redis and the worker together, so at first this is what the previous worker saw."""
        if not self._server:
            self._server = SeenStore.objects.filter(pk=1).values_list("identity", flat=True).first() or ""
        return self._server

    def _saw(self, server: str) -> None:
        if server != self._server or not SeenStore.objects.filter(pk=1, identity=server).exists():
            SeenStore.objects.update_or_create(pk=1, defaults={"identity": server})
        self._server, self._republished_at = server, monotonic()


def _identity(client: Any) -> str:
    """Which Redis this is: its run_id, which changes with a restart or a new master.

    A Redis that does not report it looks the same after either; then only recent changes are published, each minute."""
    return ",".join(sorted(str(info.get("run_id") or UNKNOWN) for info in clients.infos(client, "server")))
