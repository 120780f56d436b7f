"""The worker's postman finds what is due and sends it, in a thread of its own: no mail server holds up usage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.notifications.finding import tell_of_expiring_keys, tell_of_quotas, tell_of_unused_keys
from accounts.notifications.recipients import is_on
from accounts.notifications.sending import send_waiting

EVERY_SECONDS = 10.0
EXPIRIES_EVERY_SECONDS = 3600.0
UNUSED_EVERY_SECONDS = 86_400.0
LEAVING_SECONDS = 3.0

log = logging.getLogger(__name__)


class Postman:
    """Goes on a round every few seconds, and is on at most one at a time."""

    def __init__(self) -> None:
        self._touched: set[str] = set()
        self._due = monotonic() + EVERY_SECONDS
        self._expiries_due = self._unused_due = float("-inf")
        self._round: threading.Thread | None = None
        self._leaving = threading.Event()

    def note(self, accounts: Iterable[str]) -> None:
        """These accounts have used something: their quotas are looked at on the next round."""
        if is_on():
            self._touched.update(accounts)

    def go_if_due(self) -> None:
        """Start a round beside the worker's turn, if it is time and the last one is over."""
        if monotonic() < self._due or (self._round is not None and self._round.is_alive()):
            return
        self._due = monotonic() + EVERY_SECONDS
        if is_on():
            self._round = threading.Thread(target=self._go, name="postman", daemon=True)
            self._round.start()

    def go(self) -> int:
        """One round; the number of mails that were sent. Raises DatabaseError or RedisError."""
        if not is_on():
            return 0
        now = timezone.now()
        touched, self._touched = self._touched, set()
        tell_of_quotas(touched, now)
        if monotonic() >= self._expiries_due:
            tell_of_expiring_keys(now)
            self._expiries_due = monotonic() + EXPIRIES_EVERY_SECONDS
        if monotonic() >= self._unused_due:
            tell_of_unused_keys(now)
            self._unused_due = monotonic() + UNUSED_EVERY_SECONDS
        return send_waiting(self._leaving.is_set)

    def leave(self) -> None:
        """Start no other mail, and wait a little for one that is being sent."""
        self._leaving.set()
        if self._round is not None:
            self._round.join(LEAVING_SECONDS)

    def _go(self) -> None:
        try:
            self.go()
        except (DatabaseError, RedisError) as error:
            log.warning("notifications have to wait (%s)", type(error).__name__)
        except Exception:
            log.exception("a round of notifications failed; the next one follows")
        finally:
            connection.close()
