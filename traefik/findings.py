"""The vocabulary of check_stack: every mistake it knows, and a finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mistake(Enum):
    """Code, severity and meaning. `danger`: someone gets in or sees what they should not. `fault`: calls fail or cost
    more than they should. `unknown`: Traefik did not tell.
    """

    UNGATED_ROUTE = ("ungated-route", "danger", "a router leads to a model without asking the gate")
    GATE_AFTER_REWRITE = ("gate-after-rewrite", "danger", "the path is changed before the gate is asked")
    TRUSTED_FORWARD_HEADER = ("trusted-forward-header", "danger", "`trustForwardHeader` is not false")
    ALL_HEADERS_ASKED = ("all-headers-asked", "danger", "`authRequestHeaders` is missing: the gate gets every header")
    MORE_HEADERS_ASKED = ("more-headers-asked", "fault", "`authRequestHeaders` names headers that the gate never reads")
    KEY_NOT_ASKED = ("key-not-asked", "fault", "`authRequestHeaders` omits a header that carries keys")
    BODY_ASKED = ("body-asked", "fault", "`forwardBody` sends the gate every upload")
    FORGEABLE_HEADER = ("forgeable-header", "danger", "a client's own `X-Auth-…` or `RateLimit…` reaches the model")
    KEY_REACHES_MODEL = ("key-reaches-model", "danger", "`Authorization` or `X-Api-Key` reaches the model")
    NO_PIN = ("no-pin", "danger", "the gate's address pins no model")
    BAD_PIN = ("bad-pin", "fault", "the pin cannot be read, so the gate refuses every request")
    PIN_ELSEWHERE = ("pin-elsewhere", "fault", "the router's path is not that of the pinned model")
    NO_TRAILING_SLASH = ("no-trailing-slash", "fault", "the gate is called at `/auth`, not at `/auth/`")
    ASKED_TWICE = ("asked-twice", "fault", "the gate is asked about each request twice and counts it twice")
    GATE_UNCHECKED = ("gate-unchecked", "danger", "anything that answers at the gate's address is taken for the gate")
    GATE_UNTRUSTED = ("gate-untrusted", "fault", "Traefik rejects its own certificate, so every call fails")
    UNBOUNDED_ANSWER = ("unbounded-answer", "fault", "`maxResponseBodySize` is missing")
    NO_SLASH_BOUNDARY = ("no-slash-boundary", "danger", "the rule also matches neighbours of the model's path")
    ERRORS_BEFORE_GATE = ("errors-before-gate", "fault", "error pages replace the gate's refusals")
    KEY_REACHES_ERRORS = ("key-reaches-errors", "danger", "an error page before the gate gets the client's key")
    BUFFERED_STREAM = ("buffered-stream", "fault", "`buffering` in front of a model that streams")
    PUBLIC_ROUTE_SHADOWED = ("public-route-shadowed", "fault", "a public path still requires a key")
    ROUTER_IN_ERROR = ("router-in-error", "fault", "Traefik rejects the router")
    ENCODED_CHARACTERS = ("encoded-characters", "danger", "the entry point lets encoded characters through")
    ALIAS_HEADERS = ("alias-headers", "danger", "the entry point lets `X_Auth_Account` through")
    UNSANITIZED_PATH = ("unsanitized-path", "danger", "the entry point lets `..` and `//` through")
    GATE_PUBLIC = ("gate-public", "danger", "the gate can be asked from outside")
    GATE_ENTRY_POINT_OPEN = (
        "gate-entry-point-open",
        "danger",
        "the internal entry point listens on more than loopback",
    )
    GATE_ENTRY_POINT_TRUST = (
        "gate-entry-point-trust",
        "danger",
        "the internal entry point does not trust exactly loopback",
    )
    GATE_UNROUTED = ("gate-unrouted", "fault", "no router of the internal entry point leads to the gate")
    OPEN_API = ("open-api", "danger", "Traefik's API can be read from outside without a password")
    MODEL_WITHOUT_ROUTE = ("model-without-route", "fault", "no router asks the gate about a model in the catalogue")
    ROUTE_WITHOUT_MODEL = ("route-without-model", "fault", "a router pins a model that the catalogue lacks or disables")
    SHARED_NETWORK = ("shared-network", "danger", "models can reach each other without the gate")
    OLD_TRAEFIK = ("old-traefik", "danger", "this version of Traefik has known vulnerabilities")
    UNKNOWN_TRAEFIK = ("unknown-traefik", "unknown", "Traefik does not report a comparable version")

    def __init__(self, code: str, severity: str, meaning: str) -> None:
        self.code, self.severity, self.meaning = code, severity, meaning


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake: where it is, one sentence about it, and the lines to write instead."""

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
