"""Imports as jobs: an upload is stored line by line with digests, then the worker imports it batch by batch.

No keys are stored. A batch, its outcomes and the job's counts are one transaction, so nothing is lost or repeated if a
worker dies.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from time import monotonic
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts import keys
from accounts.imports.reading import (
    ALREADY_THERE,
    BATCH,
    FOREIGN,
    IMPORTED,
    REFUSED,
    Line,
    LineOutcome,
    Unreadable,
    from_json,
    import_lines,
    read_lines,
    to_json,
)
from accounts.models import Account, ImportJob, ImportLine
from accounts.services.acts import Actor, record_act
from accounts.services.credentials import credential_named
from runtime.among import among
from runtime.insertion import insert

log = logging.getLogger(__name__)

State = ImportJob.State
MOST_FOREIGN = 100  # lines per account and day that may be refused because a different account has the key
FOREIGN_KEPT = timedelta(days=1)


def receive(
    lines: Iterable[str],
    *,
    actor: Actor,
    account: Account | None,
    dry_run: bool,
    most: int | None = None,
    by_operator: bool = False,
) -> ImportJob:
    """Store an upload for the worker, with digests instead of keys. If it raises Unreadable, nothing is stored."""
    job = ImportJob.objects.create(
        public_id=keys.new_key_id(account.public_id if account else keys.new_account_id()),
        account=account,
        actor=actor.name,
        address=actor.address,
        created_by=actor.user,
        made_with=actor.made_with,
        is_dry_run=dry_run,
        by_operator=by_operator,
    )
    try:
        for batch in _batches(read_lines(lines, most)):
            _keep(job, batch)
        if not job.lines:
            raise Unreadable("The file has no lines below the header.")
    except BaseException:
        job.delete()
        raise
    with transaction.atomic():
        job.state = State.WAITING
        job.save(update_fields=["state"])
        after = {"lines": job.lines, "dry_run": dry_run}
        record_act(actor, "import.receive", job.public_id, account=account, after=after)
    return job


def _batches(lines: Iterator[Line | LineOutcome]) -> Iterator[list[Line | LineOutcome]]:
    while batch := list(islice(lines, BATCH)):
        yield batch


def _keep(job: ImportJob, batch: list[Line | LineOutcome]) -> None:
    refused = sum(isinstance(line, LineOutcome) for line in batch)
    with transaction.atomic():
        insert(ImportLine, ["number", "says", "outcome", "why"], map(_kept, batch), job=job)
        job.lines += len(batch)
        job.refused += refused
        job.save(update_fields=["lines", "refused"])


def _kept(line: Line | LineOutcome) -> tuple[Any, ...]:
    if isinstance(line, Line):
        return line.number, to_json(line), ImportLine.Outcome.WAITING.value, ""
    return line.number, None, line.word, line.why


def _keep_outcomes(job: ImportJob, outcomes: Mapping[int, LineOutcome]) -> None:
    """Replace the lines, by their primary keys: that takes a fraction of the time of updating each."""
    ImportLine.objects.filter(among("pk", outcomes)).delete()
    insert(ImportLine, ["id", "number", "outcome", "key", "why"], ((pk, *end) for pk, end in outcomes.items()), job=job)


def work_on_imports(seconds: float) -> int:
    """Process the oldest import for about this many seconds. Returns the number of lines."""
    end = monotonic() + seconds
    count = 0
    while done := _work_on_a_batch():
        count += done
        if monotonic() >= end:
            break
    return count


def _work_on_a_batch() -> int:
    waiting = ImportJob.objects.filter(state__in=(State.WAITING, State.RUNNING)).order_by("pk")
    oldest = waiting.values_list("pk", flat=True).first()
    if oldest is None:
        return 0
    with transaction.atomic():
        # The batch belongs to the holder of the job's lock: a second worker waits and gets the next batch.
        job = ImportJob.objects.select_for_update(of=("self",)).select_related("account").get(pk=oldest)
        rows = list(job.rows.filter(outcome=ImportLine.Outcome.WAITING).order_by("number")[:BATCH])
        if rows:
            _go_through(job, rows)
        elif job.state != State.DONE:
            job.state, job.finished_at = State.DONE, timezone.now()
            job.save(update_fields=["state", "finished_at"])
            _write_down(job)
    return max(len(rows), 1)


def _go_through(job: ImportJob, rows: list[ImportLine]) -> None:
    actor = Actor(job.actor, job.address, job.created_by, credential_named(job.made_with))
    outcomes = _import(job, [from_json(row.says or {}) for row in rows], actor)
    count = Counter(outcome.word for outcome in outcomes)
    _keep_outcomes(job, {row.pk: outcome for row, outcome in zip(rows, outcomes, strict=True)})
    ImportJob.objects.filter(pk=job.pk).update(
        state=State.RUNNING,
        imported=F("imported") + count[IMPORTED],
        already_there=F("already_there") + count[ALREADY_THERE],
        refused=F("refused") + count[REFUSED],
        foreign=F("foreign") + _foreign_among(outcomes),
    )


def _write_down(job: ImportJob) -> None:
    """Record the result, also of a dry run. Keys of other accounts go to the log only: tenants can read the audit."""
    after = {
        "dry_run": job.is_dry_run,
        "lines": job.lines,
        "imported": job.imported,
        "already_there": job.already_there,
        "refused": job.refused,
    }
    record_act(Actor(job.actor, job.address), "import.end", job.public_id, account=job.account, after=after)
    if job.foreign:
        log.warning("%d lines of import %s by %s are keys of other accounts", job.foreign, job.public_id, job.actor)


def _foreign_left(account: Account | None) -> int:
    """How many more lines of the account's imports may be refused because a different account has the key."""
    since = timezone.now() - FOREIGN_KEPT
    counted = ImportJob.objects.filter(account=account, by_operator=False, created_at__gt=since)
    return MOST_FOREIGN - int(counted.aggregate(total=Sum("foreign"))["total"] or 0)


def _foreign_among(outcomes: Iterable[LineOutcome]) -> int:
    return sum(outcome.why is FOREIGN for outcome in outcomes)


def _import(job: ImportJob, lines: list[Line], actor: Actor, spent: int = 0) -> list[LineOutcome]:
    """Import a batch. An unexpected failure of one line must not stop the worker, which has other work to do."""
    account = job.account
    is_tenants = account is not None and not job.by_operator
    most_foreign = (lambda: _foreign_left(account) - spent) if is_tenants else None
    try:
        promised = Counter({account.public_id: job.imported}) if account is not None and job.is_dry_run else None
        return import_lines(
            lines, actor=actor, account=account, dry_run=job.is_dry_run, promised=promised, most_foreign=most_foreign
        )[0]
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(lines) > 1:
            outcomes: list[LineOutcome] = []
            for line in lines:
                outcomes += _import(job, [line], actor, spent + _foreign_among(outcomes))
            return outcomes
        log.exception("line %d of import %s failed", lines[0].number, job.public_id)
        return [LineOutcome(lines[0].number, REFUSED, why="The import of this line failed. See the worker's log.")]
