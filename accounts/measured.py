"""The database, the outbox and the worker's turns, for the `/metrics` of consoles and workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, time

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from accounts.ledger_worker import Turn
from accounts.models import OutboxRow
from runtime.measures import COPIED, PUBLISHED, TURNS


def outbox() -> list[Metric]:
    """Whether the database answers, and what is committed but not yet published. Called in a thread of its own."""
    try:
        found = OutboxRow.objects.aggregate(rows=Count("id"), oldest=Min("created_at"))
    except DatabaseError:
        return [_database_up(0)]
    finally:
        connection.close()
    oldest = found["oldest"]
    seconds = max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0
    return [
        _database_up(1),
        GaugeMetricFamily("authsvc_outbox_changes", "Changes that wait to be published to the gate.", found["rows"]),
        GaugeMetricFamily("authsvc_outbox_oldest_seconds", "How long the oldest of them has been waiting.", seconds),
    ]


def _database_up(answers: int) -> Metric:
    return GaugeMetricFamily("authsvc_database_up", "1 while the database answers.", answers)


class Turns:
    """How the worker's turns go. Copied usage is as old as the last complete one."""

    def __init__(self) -> None:
        self._completed_at = self._seconds = 0.0
        self._completed: float | None = None
        self._trouble = ""

    @contextmanager
    def measured(self) -> Iterator[None]:
        began = monotonic()
        try:
            yield
        except (RedisError, DatabaseError) as error:
            self._trouble = "redis" if isinstance(error, RedisError) else "database"
            TURNS.count(f"{self._trouble}_failed")
            raise
        TURNS.count("completed")
        self._trouble, self._completed = "", monotonic()
        self._completed_at, self._seconds = time(), monotonic() - began

    def did(self, turn: Turn) -> None:
        COPIED.add(turn.copied)
        PUBLISHED.add(turn.published, "changed")
        PUBLISHED.add(turn.republished, "again")

    def report(self) -> dict[str, object]:
        """For the worker's report of itself: when it last completed a turn, and what fails since."""
        ago = None if self._completed is None else round(monotonic() - self._completed, 1)
        return {"copied_ago": ago, "trouble": self._trouble}

    def metrics(self) -> list[Metric]:
        at, seconds = "authsvc_worker_last_turn_timestamp_seconds", "authsvc_worker_last_turn_seconds"
        return [
            GaugeMetricFamily(at, "When the worker last completed a turn; 0 before the first.", self._completed_at),
            GaugeMetricFamily(seconds, "How long that turn took.", self._seconds),
        ]
