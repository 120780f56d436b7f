"""A problem of the REST API as a client gets it, for the page that explains it."""

from __future__ import annotations

from typing import Any

from api.base.problems import MEDIA_TYPE, document
from api.openapi.documented_errors import ERRORS, HEADERS

# Words that no operation names, since any may answer them.
_OTHER_DETAILS = {
    "unreadable": "JSON parse error - Expecting value: line 1 column 1 (char 0)",
    "internal": "Internal error. See the service log for details.",
}


def sample_of(word: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of an answer whose problem type ends in this word."""
    documented = next((error for error in ERRORS.values() if error.word == word), None)
    body = document(word, documented.detail if documented else _OTHER_DETAILS[word])
    if word == "invalid":
        body["errors"] = [{"field": "expires_at", "detail": "This time has passed."}]
    always = [name for name, is_always in documented.headers.items() if is_always] if documented else []
    headers = {name: str(HEADERS[name]["example"]) for name in always}
    return {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **headers}, body
