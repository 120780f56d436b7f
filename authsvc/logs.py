"""What no log line may hold."""

from __future__ import annotations

import logging
import re

_LINK = re.compile(r"(/first-operator/)[^/\s]+")


class WithoutLinks(logging.Filter):
    """Take the token out of an address that Django writes down, as it does with every answer of 400 and above."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _LINK.search(message):
            record.msg, record.args = _LINK.sub(r"\1…", message), None
        return True
