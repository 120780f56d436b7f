"""Sending what waits: a few mails at a time, each claimed first, so that of two workers one sends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from smtplib import SMTPRecipientsRefused
from time import monotonic
from typing import Any

from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import override

from accounts.languages import language_of
from accounts.models import Account, ApiKey, Notification, User
from accounts.notifications.recipients import TOPIC_OF, Kind, is_still_one
from accounts.notifications.words import mail_of
from runtime.measures import MAILS
from store.throttles import NOTIFICATIONS

MOST_MAILS = 20  # of one run
RUN_SECONDS = 20.0  # after which a run starts no other mail
MOST_TOGETHER = 200  # told in one mail
CLAIMED_FOR = timedelta(minutes=10)  # longer than a mail takes: what a worker died with is sent again after that
OLD_NEWS = timedelta(days=7)  # of a worker that was without a mail server for so long
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360, 720, 1440))  # after each failure

Outcome = Notification.Outcome

log = logging.getLogger(__name__)


class MailServerFailed(Exception):
    """It took no mail, so the next one would only wait for it, too."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What one person is told in one mail: all that waits of one kind about one account."""

    user: User
    kind: str
    account: Account | None
    rows: Sequence[Notification]

    @property
    def whose(self) -> str:
        """Who is throttled."""
        return self.account.public_id if self.account else f"user {self.user.pk}"


def send_waiting(stopped: Callable[[], bool] = lambda: False) -> int:
    """Send what is due, within bounds; the number of mails that were sent. Raises DatabaseError."""
    began, sent = monotonic(), 0
    for _ in range(MOST_MAILS):
        if stopped() or monotonic() - began >= RUN_SECONDS:
            break
        letter = _claim()
        if letter is None:
            break
        try:
            sent += _send(letter)
        except MailServerFailed:
            break
    return sent


def _claim() -> Letter | None:
    """Take what has waited longest, with all that goes into the same mail."""
    with transaction.atomic():
        now = timezone.now()
        waiting = Notification.objects.filter(due_at__lte=now).select_for_update(skip_locked=True, of=("self",))
        first = waiting.order_by("due_at", "pk").first()
        if first is None:
            return None
        same = waiting.filter(user_id=first.user_id, kind=first.kind, account=first.account)
        rows = list(same.order_by("moment", "pk")[:MOST_TOGETHER])
        _update(rows, due_at=now + CLAIMED_FOR)
    account = Account.objects.filter(public_id=first.account).first() if first.account else None
    return Letter(first.user, first.kind, account, rows)


def _send(letter: Letter) -> bool:
    """Whether a mail was sent. Raises MailServerFailed."""
    true = _still_true(letter, timezone.now())
    _end([row for row in letter.rows if row not in true], Outcome.OUTDATED)
    if not true:
        return False
    letter = replace(letter, rows=true)
    if wait := NOTIFICATIONS.wait(letter.whose):
        _update(letter.rows, due_at=timezone.now() + timedelta(seconds=wait))
        return False
    try:
        with override(language_of(letter.user)):
            subject, text = mail_of(letter.kind, letter.account, letter.rows)
        EmailMessage(subject, text, to=[letter.user.email]).send()
    except Exception as error:  # smtplib raises many kinds of errors
        MAILS.count("failed")
        NOTIFICATIONS.give_back(letter.whose)
        _try_later(letter, error)
        if isinstance(error, SMTPRecipientsRefused):
            return False
        raise MailServerFailed from error
    MAILS.count("sent")
    _end(letter.rows, Outcome.SENT)
    return True


def _still_true(letter: Letter, now: datetime) -> list[Notification]:
    """What is still so and no old news, for somebody who still wants to know it."""
    if not is_still_one(letter.user, letter.rows[0].account, TOPIC_OF[letter.kind]):
        return []
    letter = replace(letter, rows=[row for row in letter.rows if now - row.created_at < OLD_NEWS])
    match letter.kind:
        case Kind.EXPIRES_IN_A_WEEK | Kind.EXPIRES_TOMORROW:
            keys = _active_keys(letter.rows)
            return [row for row in letter.rows if now < row.moment == keys.get(row.subject, {}).get("expires_at")]
        case Kind.UNUSED:
            keys = _active_keys(letter.rows)
            return [row for row in letter.rows if row.subject in keys and not _was_used_since(row, keys[row.subject])]
        case Kind.QUOTA_NEARLY_USED | Kind.QUOTA_USED_UP:
            return [row for row in letter.rows if now.timestamp() < row.details["renews"]]
    return list(letter.rows)


def _active_keys(rows: Sequence[Notification]) -> dict[str, dict[str, Any]]:
    found = ApiKey.objects.active().filter(public_id__in=[row.subject for row in rows])
    columns = found.annotate(used_at=Max("secrets__last_used_at")).values("public_id", "expires_at", "used_at")
    return {key["public_id"]: key for key in columns}


def _was_used_since(row: Notification, key: dict[str, Any]) -> bool:
    return key["used_at"] is not None and key["used_at"] > row.moment


def _try_later(letter: Letter, error: Exception) -> None:
    tries = max(row.tries for row in letter.rows) + 1
    what = f"the mail {letter.kind} to a person of {letter.whose} could not be sent ({type(error).__name__})"
    if tries > len(WAITS):
        log.error("%s, and is given up", what)
        _end(letter.rows, Outcome.FAILED)
        return
    log.warning("%s: trying again later", what)
    _update(letter.rows, due_at=timezone.now() + WAITS[tries - 1], tries=tries)


def _end(rows: Collection[Notification], outcome: str) -> None:
    _update(rows, due_at=None, ended_at=timezone.now(), outcome=outcome)


def _update(rows: Collection[Notification], **values: Any) -> None:
    if rows:
        Notification.objects.filter(pk__in=[row.pk for row in rows]).update(**values)
