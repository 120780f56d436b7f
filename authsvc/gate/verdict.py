"""`Verdict`: every way in which a question can end."""

from __future__ import annotations

from enum import Enum

_INVALID = "This API key is not valid."


class Verdict(Enum):
    """Log word, status, public code (the last part of the problem's type), title, and the words for the client."""

    ALLOWED = ("allowed", 200, "", "", "")

    NO_KEY = ("no_key", 401, "no_key", "No API key", "Send an API key: Authorization: Bearer KEY, or X-Api-Key: KEY.")
    INCOMPLETE_KEY = (
        "incomplete_key",
        401,
        "invalid_token",
        "Invalid API key",
        "This API key is incomplete: its length or its checksum is wrong. Was it copied in full?",
    )
    SEVERAL_KEYS = ("several_keys", 401, "invalid_token", "Invalid API key", "Send exactly one API key.")
    FOREIGN_KEY = ("foreign_key", 401, "invalid_token", "Invalid API key", _INVALID)
    FORGED_KEY = ("forged_key", 401, "invalid_token", "Invalid API key", _INVALID)
    UNKNOWN_KEY = ("unknown_key", 401, "invalid_token", "Invalid API key", _INVALID)
    WRONG_SECRET = ("wrong_secret", 401, "invalid_token", "Invalid API key", _INVALID)
    REVOKED_KEY = ("revoked_key", 401, "invalid_token", "Invalid API key", _INVALID)
    EXPIRED_KEY = ("expired_key", 401, "invalid_token", "Invalid API key", _INVALID)
    PAUSED_KEY = ("paused_key", 401, "invalid_token", "Invalid API key", _INVALID)

    MODEL_NOT_ALLOWED = (
        "model_not_allowed",
        403,
        "insufficient_scope",
        "Model not allowed",
        "This API key may not use this model.",
    )

    NOT_FORWARDED = (
        "not_forwarded",
        403,
        "not_forwarded",
        "Not a forwarded request",
        "Only Traefik's ForwardAuth may ask the gate: at /auth/, with X-Forwarded-Uri, -Method and -For once each.",
    )
    UNCLEAN_PATH = (
        "unclean_path",
        403,
        "unclean_path",
        "Path not allowed",
        "The path contains characters or segments that are not allowed.",
    )
    UNCLEAN_QUERY = (
        "unclean_query",
        403,
        "unclean_query",
        "Query not allowed",
        "The query contains bytes that are not visible ASCII. Percent-encode them.",
    )
    URI_TOO_LONG = (
        "uri_too_long",
        403,
        "uri_too_long",
        "URI too long",
        "Path and query together are longer than 8192 bytes.",
    )
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
        "address_not_allowed",
        403,
        "address_not_allowed",
        "Address not allowed",
        "This API key may not be used from this address.",
    )
    ACCOUNT_SUSPENDED = (
        "account_suspended",
        403,
        "account_suspended",
        "Account suspended",
        "The account is suspended.",
    )
    ACCOUNT_CLOSED = ("account_closed", 403, "account_suspended", "Account suspended", "The account is closed.")
    COST_OVER_BURST = (
        "cost_over_burst",
        403,
        "cost_over_burst",
        "Call too large",
        "A call to this model costs more than one of its limits can ever hold.",
    )

    OVER_LIMIT = ("over_limit", 429, "quota_exceeded", "Over a limit", "This call exceeds a limit of your plan.")

    CANNOT_DECIDE = (
        "cannot_decide",
        503,
        "cannot_decide",
        "Cannot decide",
        "The gate cannot decide right now. Try again shortly.",
    )

    def __init__(self, word: str, status: int, code: str, title: str, detail: str) -> None:
        self.word, self.status, self.code, self.title, self.detail = word, status, code, title, detail

    __hash__ = object.__hash__  # an enum's own calls Python for each look-up; members are compared by identity anyway


# For the hot path: on Python 3.11 looking a member up in its enum costs more than a call.
ALLOWED, OVER_LIMIT, MODEL_NOT_ALLOWED = Verdict.ALLOWED, Verdict.OVER_LIMIT, Verdict.MODEL_NOT_ALLOWED
FORGED_KEY, INCOMPLETE_KEY, PIN_MISMATCH = Verdict.FORGED_KEY, Verdict.INCOMPLETE_KEY, Verdict.PIN_MISMATCH
