"""What is asked of the audit log: words, who, and days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Q, QuerySet
from django.http import QueryDict

from accounts.models import AuditEvent

LONGEST_SEARCH = 200
_FIRST, _LAST = date(2000, 1, 1), date(2199, 12, 30)


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """As far as it makes sense; the rest is as if it had not been asked."""

    text: str
    who: str
    first: date | None
    last: date | None

    @classmethod
    def read(cls, query: QueryDict) -> AuditSearch:
        text, who = (query.get(name, "").strip()[:LONGEST_SEARCH] for name in ("q", "who"))
        return cls(text, who, _day(query.get("from")), _day(query.get("to")))

    def __bool__(self) -> bool:
        return bool(self.text or self.who or self.first or self.last)

    def narrow(
        self, rows: QuerySet[AuditEvent], *, acts: Iterable[str], subjects: Iterable[str]
    ) -> QuerySet[AuditEvent]:
        """The rows that match. `acts` and `subjects` are those whose words and names contain the text."""
        if self.text:
            said = Q(actor__icontains=self.text) | Q(address__startswith=self.text) | Q(subject__startswith=self.text)
            rows = rows.filter(said | Q(act__in=list(acts)) | Q(subject__in=list(subjects)))
        if self.who:
            rows = rows.filter(actor__iexact=self.who)
        if self.first:
            rows = rows.filter(at__gte=_midnight(self.first))
        if self.last:
            rows = rows.filter(at__lt=_midnight(self.last + timedelta(days=1)))
        return rows


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if _FIRST <= day <= _LAST else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
