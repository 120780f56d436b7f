"""Mail that goes nowhere: the last ones are kept in Redis for a day, for operators who try the service out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage

from store import clients, names
from store.commands import command

MOST_MAILS = 50
LONGEST_TEXT = 20_000  # characters of one mail
SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Kept:
    """A mail that would have been sent. `at` is in ISO 8601, UTC."""

    at: str
    to: str
    subject: str
    text: str

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.at)


class Mailbox(BaseEmailBackend):
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Raises RedisError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for mail in email_messages:
            kept = Kept(now, ", ".join(mail.recipients())[:500], str(mail.subject)[:500], str(mail.body)[:LONGEST_TEXT])
            clients.send_all(
                [
                    command("LPUSH", names.MAILBOX, json.dumps(asdict(kept))),
                    command("LTRIM", names.MAILBOX, 0, MOST_MAILS - 1),
                    command("EXPIRE", names.MAILBOX, SECONDS),
                ]
            )
        return len(email_messages)


def kept_mails() -> list[Kept]:
    """The newest first, none older than a day. Raises RedisError."""
    now = datetime.now(UTC)
    mails = [Kept(**json.loads(text)) for text in clients.sync_client().lrange(names.MAILBOX, 0, -1)]
    return [mail for mail in mails if (now - mail.moment).total_seconds() < SECONDS]
