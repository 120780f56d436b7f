"""What runs: gates, consoles and workers as the front page lists them, from what they reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.utils.translation import gettext_lazy as _

from console.operators.places import Words
from runtime.processes import ENDED, STOPPING, ReportedProcess

SILENT_SECONDS = 45  # four reports
SHOWN_SECONDS = 900  # a gate that is silent for longer was replaced long ago
BEHIND_SECONDS = 60  # usage is copied within seconds
ALARM_SECONDS = 300
MOST = 50

_KINDS: dict[tuple[str, ...], Words] = {
    ("gate",): _("Gate"),
    ("console",): _("Console"),
    ("console", "gate"): _("Gate and console"),
    ("worker",): _("Worker"),
}
_ORDER = list(_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningReplica:
    """The processes of one replica that run the same version."""

    serves: tuple[str, ...]
    host: str
    version: str
    processes: int  # of which reports still come; 0 if the replica has fallen silent
    is_stopping: bool
    is_older: bool
    since: datetime
    heard: datetime

    @property
    def name(self) -> Words:
        return _KINDS.get(self.serves, ", ".join(self.serves))

    @property
    def badge(self) -> tuple[str, Words]:
        """Its tone and its words."""
        if not self.processes:
            return "bad", _("Silent")
        if self.is_stopping:
            return "warn", _("Stopping")
        return ("warn", _("Older version")) if self.is_older else ("good", _("Running"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """How the copying of usage goes. Without a worker that was ever heard of, `heard` is None."""

    tone: str
    words: Words
    heard: datetime | None = None
    copied: datetime | None = None
    swept: datetime | None = None
    trouble: str = ""
    is_alarming: bool = False


@dataclass(frozen=True, slots=True)
class RollCall:
    """Everybody who reported."""

    replicas: list[RunningReplica]
    worker: WorkerState
    more: int = 0

    def of(self, kind: str) -> list[RunningReplica]:
        return [one for one in self.replicas if kind in one.serves and one.processes]

    @property
    def gates(self) -> list[RunningReplica]:
        return self.of("gate")

    @property
    def older(self) -> int:
        return sum(one.is_older for one in self.replicas if one.processes)


def roll_call(reports: Iterable[ReportedProcess], now: datetime) -> RollCall:
    living = [one for one in reports if one.state != ENDED]
    newest = max((_parts(one.version) for one in living if one.heard_ago <= SILENT_SECONDS), default=())
    recent = sorted((one for one in living if one.heard_ago <= SHOWN_SECONDS), key=_replica)
    found = [_running(list(group), newest, now) for _key, group in groupby(recent, key=_replica)]
    found.sort(key=lambda one: (_rank(one.serves), one.host, one.since))
    return RollCall(found[:MOST], worker_state(living, now), max(len(found) - MOST, 0))


def _replica(one: ReportedProcess) -> tuple[Any, ...]:
    return _kind(one), one.replica, one.version


def _kind(one: ReportedProcess) -> tuple[str, ...]:
    return tuple(sorted(one.serves))


def _rank(kind: tuple[str, ...]) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _running(group: Sequence[ReportedProcess], newest: tuple[int, ...], now: datetime) -> RunningReplica:
    heard = [one for one in group if one.heard_ago <= SILENT_SECONDS]
    latest = min(group, key=lambda one: one.heard_ago)
    longest = max(one.running + one.heard_ago for one in heard or group)
    return RunningReplica(
        serves=_kind(latest),
        host=latest.host,
        version=latest.version,
        processes=len(heard),
        is_stopping=any(one.state == STOPPING for one in heard),
        is_older=_parts(latest.version) < newest,
        since=now - timedelta(seconds=longest),
        heard=now - timedelta(seconds=latest.heard_ago),
    )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def worker_state(living: Iterable[ReportedProcess], now: datetime) -> WorkerState:
    """Of several workers, the one that is furthest: whatever one has copied is copied."""
    workers = [one for one in living if "worker" in one.serves]
    if not workers:
        return WorkerState(tone="bad", words=_("Not heard of"), is_alarming=True)
    latest = min(workers, key=lambda one: (one.heard_ago > SILENT_SECONDS, _copied_ago(one), one.heard_ago))
    lag = _copied_ago(latest)
    silent = latest.heard_ago > SILENT_SECONDS
    tone, words = _worker_badge(latest, lag, silent=silent)
    return WorkerState(
        tone=tone,
        words=words,
        heard=now - timedelta(seconds=latest.heard_ago),
        copied=None if latest.copied_ago is None else now - timedelta(seconds=lag),
        swept=None if latest.swept_ago is None else now - timedelta(seconds=latest.swept_ago + latest.heard_ago),
        trouble="" if silent else latest.trouble,
        is_alarming=latest.heard_ago >= ALARM_SECONDS,
    )


def _copied_ago(one: ReportedProcess) -> float:
    """Seconds since its last complete turn, or since it began if there was none."""
    return (one.running if one.copied_ago is None else one.copied_ago) + one.heard_ago


def _worker_badge(latest: ReportedProcess, lag: float, *, silent: bool) -> tuple[str, Words]:
    if silent:
        return "bad", _("Silent")
    if latest.trouble:
        return "bad", _("In trouble")
    return ("warn", _("Behind")) if lag > BEHIND_SECONDS else ("good", _("Running"))
