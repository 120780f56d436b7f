"""The words of check_stack: every mistake that it knows, and one that it found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mistake(Enum):
    """Code, severity, what it means. `danger`: somebody gets in, or learns what is not theirs. `fault`: calls fail,
    or cost what they should not. `unknown`: Traefik did not say.
    """

    UNGATED_ROUTE = ("ungated-route", "danger", "a router leads to a model without asking the gate")
    GATE_AFTER_REWRITE = ("gate-after-rewrite", "danger", "the path is changed before the gate is asked")
    TRUSTED_FORWARD_HEADER = ("trusted-forward-header", "danger", "`trustForwardHeader` is not false")
    ALL_HEADERS_ASKED = ("all-headers-asked", "danger", "`authRequestHeaders` is missing: the gate gets every header")
    MORE_HEADERS_ASKED = ("more-headers-asked", "fault", "`authRequestHeaders` names headers that the gate never reads")
    KEY_NOT_ASKED = ("key-not-asked", "fault", "`authRequestHeaders` leaves out a header that keys come in")
    BODY_ASKED = ("body-asked", "fault", "`forwardBody`: the gate is sent every upload")
    FORGEABLE_HEADER = ("forgeable-header", "danger", "a client's own `X-Auth-…` or `RateLimit…` reaches the model")
    KEY_REACHES_MODEL = ("key-reaches-model", "danger", "`Authorization` or `X-Api-Key` reaches the model")
    NO_PIN = ("no-pin", "danger", "the question names no model")
    BAD_PIN = ("bad-pin", "fault", "the gate cannot read which model is named: it refuses all")
    PIN_ELSEWHERE = ("pin-elsewhere", "fault", "the router's path is not that of the model that it names")
    NO_TRAILING_SLASH = ("no-trailing-slash", "fault", "the gate is asked at `/auth`, not at `/auth/`")
    ASKED_TWICE = ("asked-twice", "fault", "one request is asked about, and counted, twice")
    GATE_UNCHECKED = ("gate-unchecked", "danger", "whoever answers at the gate's address is taken for the gate")
    GATE_UNTRUSTED = ("gate-untrusted", "fault", "Traefik refuses its own certificate, and so every call")
    UNBOUNDED_ANSWER = ("unbounded-answer", "fault", "`maxResponseBodySize` is missing")
    NO_SLASH_BOUNDARY = ("no-slash-boundary", "danger", "the rule takes in neighbours of the model's path")
    ERRORS_BEFORE_GATE = ("errors-before-gate", "fault", "error pages replace the gate's refusals")
    KEY_REACHES_ERRORS = ("key-reaches-errors", "danger", "error pages before the gate are sent the client's key")
    BUFFERED_STREAM = ("buffered-stream", "fault", "`buffering` on the way to a model that streams")
    PUBLIC_ROUTE_SHADOWED = ("public-route-shadowed", "fault", "a public path still wants a key")
    ROUTER_IN_ERROR = ("router-in-error", "fault", "Traefik refuses the router")
    ENCODED_CHARACTERS = ("encoded-characters", "danger", "the entry point lets encoded characters through")
    ALIAS_HEADERS = ("alias-headers", "danger", "the entry point lets `X_Auth_Account` through")
    UNSANITIZED_PATH = ("unsanitized-path", "danger", "the entry point lets `..` and `//` through")
    GATE_PUBLIC = ("gate-public", "danger", "the gate can be asked from outside")
    GATE_ENTRY_POINT_OPEN = ("gate-entry-point-open", "danger", "the internal entry point is not on loopback only")
    GATE_ENTRY_POINT_TRUST = (
        "gate-entry-point-trust",
        "danger",
        "the internal entry point trusts not just loopback",
    )
    GATE_UNROUTED = ("gate-unrouted", "fault", "no router of the internal entry point leads to the gate")
    OPEN_API = ("open-api", "danger", "Traefik's API can be read from outside without a password")
    MODEL_WITHOUT_ROUTE = ("model-without-route", "fault", "no router asks the gate for a model of the catalogue")
    ROUTE_WITHOUT_MODEL = ("route-without-model", "fault", "a router names a model that the catalogue does not serve")
    SHARED_NETWORK = ("shared-network", "danger", "models reach each other past the gate")
    OLD_TRAEFIK = ("old-traefik", "danger", "this version of Traefik has known holes")
    UNKNOWN_TRAEFIK = ("unknown-traefik", "unknown", "Traefik does not say a version that can be compared")

    def __init__(self, code: str, severity: str, meaning: str) -> None:
        self.code, self.severity, self.meaning = code, severity, meaning


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake, where it is, in one sentence, and the lines to write instead."""

    mistake: Mistake
    where: str  # such as `router sm@docker`
    sentence: str
    instead: tuple[str, ...]

    def as_text(self) -> str:
        lines = [f"{self.mistake.severity}  {self.mistake.code}  {self.where}", f"    {self.sentence}", "    Write:"]
        return "\n".join([*lines, *(f"        {line}" for line in self.instead)])

    def as_json(self) -> dict[str, object]:
        return {
            "code": self.mistake.code,
            "severity": self.mistake.severity,
            "where": self.where,
            "sentence": self.sentence,
            "instead": list(self.instead),
        }
