"""The titles of problems, in the reader's language. The gate and the REST API always send them in English."""

from __future__ import annotations

from django.utils.translation import gettext, gettext_noop

# Listed here so that they are translated: the gate has them in `Verdict`, the REST API takes them from RFC 9110.
TITLES = (
    gettext_noop("Account suspended"),
    gettext_noop("Address not allowed"),
    gettext_noop("Call too large"),
    gettext_noop("Cannot decide"),
    gettext_noop("Invalid API key"),
    gettext_noop("Method not allowed"),
    gettext_noop("Model not allowed"),
    gettext_noop("No API key"),
    gettext_noop("Not a forwarded request"),
    gettext_noop("Over a limit"),
    gettext_noop("Path not allowed"),
    gettext_noop("Query not allowed"),
    gettext_noop("URI too long"),
    gettext_noop("Unknown model"),
    gettext_noop("Bad Request"),
    gettext_noop("Conflict"),
    gettext_noop("Content Too Large"),
    gettext_noop("Forbidden"),
    gettext_noop("Internal Server Error"),
    gettext_noop("Method Not Allowed"),
    gettext_noop("Not Acceptable"),
    gettext_noop("Not Found"),
    gettext_noop("Request Timeout"),
    gettext_noop("Service Unavailable"),
    gettext_noop("Too Many Requests"),
    gettext_noop("Unauthorized"),
    gettext_noop("Unprocessable Content"),
    gettext_noop("Unsupported Media Type"),
)


def title_in_words(title: str) -> str:
    return gettext(title)
