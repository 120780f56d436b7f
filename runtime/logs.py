"""Keeps secrets out of log lines."""

from __future__ import annotations

import logging

from runtime.secret_links import without_secrets


class WithoutLinks(logging.Filter):
    """Cut secrets out of the URLs that Django logs with every answer of 400 and above."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if (safe := without_secrets(message)) != message:
            record.msg, record.args = safe, None
        return True
