"""`Verdict`: every way in which a question can end."""

from __future__ import annotations

from enum import Enum

_INVALID = "This API key is not valid."


class Verdict(Enum):
    """Log word, status, public code (the last part of the problem's type), title, and the words for the client."""

    ALLOWED = ("allowed", 200, "", "", "")

    NO_KEY = ("no_key", 401, "no_key", "No API key", "Send an API key: Authorization: Bearer KEY, or X-Api-Key: KEY.")
    INCOMPLETE_KEY = (
        "incomplete_key", 401, "invalid_token", "Invalid API key",
        "This API key is incomplete: its length or its checksum is wrong. Was all of it copied?",
    )  # fmt: skip
    SEVERAL_KEYS = ("several_keys", 401, "invalid_token", "Invalid API key", "Send exactly one API key.")
    FOREIGN_KEY = ("foreign_key", 401, "invalid_token", "Invalid API key", _INVALID)
    FORGED_KEY = ("forged_key", 401, "invalid_token", "Invalid API key", _INVALID)
    UNKNOWN_KEY = ("unknown_key", 401, "invalid_token", "Invalid API key", _INVALID)
    WRONG_SECRET = ("wrong_secret", 401, "invalid_token", "Invalid API key", _INVALID)
    REVOKED_KEY = ("revoked_key", 401, "invalid_token", "Invalid API key", _INVALID)
    EXPIRED_KEY = ("expired_key", 401, "invalid_token", "Invalid API key", _INVALID)

    MODEL_NOT_ALLOWED = (
        "model_not_allowed", 403, "insufficient_scope", "Model not allowed", "This API key may not use this model.",
    )  # fmt: skip

    NOT_FORWARDED = (
        "not_forwarded", 403, "not_forwarded", "Not a forwarded request",
        "The gate is asked by Traefik's ForwardAuth, at /auth/ and with X-Forwarded-Uri, -Method and -For once each.",
    )  # fmt: skip
    UNCLEAN_PATH = (
        "unclean_path",
        403,
        "unclean_path",
        "Path not clean",
        "The path has characters or segments that are refused.",
    )
    UNCLEAN_QUERY = (
        "unclean_query", 403, "unclean_query", "Query not clean",
        "The query has bytes that are not visible ASCII: percent-encode them.",
    )  # fmt: skip
    URI_TOO_LONG = (
        "uri_too_long", 403, "uri_too_long", "URI too long",
        "The path and the query have more than 8192 bytes together.",
    )  # fmt: skip
    UNKNOWN_MODEL = ("unknown_model", 403, "unknown_model", "Unknown model", "There is no such model.")
    PIN_MISMATCH = ("pin_mismatch", 403, "unknown_model", "Unknown model", "There is no such model at this path.")
    METHOD_NOT_ALLOWED = (
        "method_not_allowed",
        403,
        "method_not_allowed",
        "Method not allowed",
        "This method is not allowed.",
    )
    ADDRESS_NOT_ALLOWED = (
        "address_not_allowed", 403, "address_not_allowed", "Address not allowed",
        "This API key may not be used from this address.",
    )  # fmt: skip
    ACCOUNT_SUSPENDED = (
        "account_suspended",
        403,
        "account_suspended",
        "Account suspended",
        "The account is suspended.",
    )
    ACCOUNT_CLOSED = ("account_closed", 403, "account_suspended", "Account suspended", "The account is closed.")
    COST_OVER_BURST = (
        "cost_over_burst", 403, "cost_over_burst", "Call too large",
        "A call to this model costs more than a limit ever has room for.",
    )  # fmt: skip

    OVER_LIMIT = ("over_limit", 429, "quota_exceeded", "Over a limit", "This call is over a limit of your plan.")

    CANNOT_DECIDE = ("cannot_decide", 503, "cannot_decide", "Cannot decide", "The gate cannot decide now. Try again.")

    def __init__(self, word: str, status: int, code: str, title: str, detail: str) -> None:
        self.word, self.status, self.code, self.title, self.detail = word, status, code, title, detail


ALLOWED = (
    Verdict.ALLOWED
)  # for the hot path: on Python 3.11 looking a member up in its enum costs as much as four calls
