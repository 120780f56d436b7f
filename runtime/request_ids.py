"""The id of the request that is being served: in each log line about it, in its answer, and on its error page."""

from __future__ import annotations

import logging
from contextvars import ContextVar

HEADER = "X-Request-Id"
serving: ContextVar[str] = ContextVar("request_id", default="")


class WithRequestId(logging.Filter):
    """Gives `%(request_id)s` to a formatter: the id in brackets and a space, or nothing outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        identity = serving.get()
        record.request_id = f"[{identity}] " if identity else ""
        return True
