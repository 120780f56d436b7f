"""The ASGI callable: reads, decides, answers, counts, logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import random
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from django.conf import settings

from accounts.facts.lookup import Lookup
from accounts.peppers import peppers
from authsvc.gate.answer import BROKEN, Answer, answer, written
from authsvc.gate.decision import Decision, cannot_decide, decide
from authsvc.gate.forwarded import (
    PATH,
    PROTOCOLS,
    TRACEPARENT,
    WANTED,
    WANTED_OF_BROWSERS,
    GateRequest,
    read_headers,
    request_id,
)
from authsvc.gate.log import DecisionLog
from authsvc.gate.measure import Measured
from authsvc.gate.presented import without_keys
from authsvc.gate.verdict import ALLOWED, PIN_MISMATCH
from runtime.errand import Errand
from runtime.measures import measure_pipes
from store.clients import StoreUnavailable
from store.link import close_link, link
from store.pipe import DECISION_SECONDS

if TYPE_CHECKING:
    from authsvc.gate.spans import Spans

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

REPAY_SECONDS = 0.5
MOST_QUERIES_TOLD = 16

log = logging.getLogger(__name__)


class Gate:
    """Decides what Traefik asks. There is one for each event loop."""

    def __init__(self, kind: type[Lookup] = Lookup) -> None:
        measure_pipes()
        self.lookup = kind(link(), peppers())
        self._wanted = WANTED_OF_BROWSERS if settings.WEBSOCKET_KEYS else WANTED
        self._share_logged = settings.LOG_SAMPLE if settings.LOG_DECISIONS == "all" else 0.0  # of allowed calls
        self._log, self._measured = DecisionLog(), Measured(self.lookup)
        self._spans = _spans()
        self._queries_told: set[bytes] = set()
        self._repaying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start connecting, so that the first question need not wait for it."""
        self.lookup.link.open()
        if settings.WHEN_REDIS_IS_DOWN == "allow":
            self._repaying = asyncio.get_running_loop().create_task(self._repay())

    async def know_whose(self) -> None:
        """For a server, before its first question: a gate must not use the facts of another deployment."""
        self._watching = await self.lookup.know_whose()

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._repaying is not None:
            self._repaying.cancel()
            with suppress(StoreUnavailable):
                await self.lookup.owed.repay(self.lookup.link)
        await close_link()
        self.lookup.close()
        if self._spans is not None:
            await self._spans.close()
        self._measured.count()
        self._log.flush()

    async def answer(self, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        """What Traefik gets for a question's path, query and headers (names in lower case)."""
        return answer(*await self.decide(path, query, headers))

    def answer_directly(
        self, query: bytes, headers: list[tuple[bytes, bytes]], then: Callable[[bytes, bytes], None]
    ) -> None:
        """The same at PATH, with the answer as it is written: for our own worker, see runtime/protocol.py."""
        Errand(self._written(query, headers), lambda answer: then(*(answer or BROKEN))).go_on()

    async def _written(self, query: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        return written(*await self.decide(PATH, query, headers))

    async def decide(self, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[Decision, bytes]:
        """Decide, count and log; the decision and the request's id."""
        began = monotonic()
        asked = read_headers(path, query, headers, self._wanted)
        try:
            decision = await decide(asked, time(), began + DECISION_SECONDS, self.lookup)
        except Exception as error:  # a fault of ours is no verdict on the caller
            log.exception("a decision failed")
            decision = cannot_decide(type(error).__name__)
        if PROTOCOLS in asked.headers:
            decision.protocols = without_keys(asked.headers[PROTOCOLS])
        verdict, identity = decision.verdict, request_id(asked.headers)
        self._measured.note(decision, monotonic() - began)
        if self._spans is not None and TRACEPARENT in asked.headers:
            self._spans.note(decision, asked.headers[TRACEPARENT], monotonic() - began)
        if verdict is not ALLOWED or (self._share_logged and random() < self._share_logged):
            self._note(decision, asked, identity, began)
        return decision, identity

    def _tell_of_query(self, query: bytes) -> str:
        """Log a query that is not exactly one pin, each once and as an error: the operator has to fix it."""
        if query not in self._queries_told and len(self._queries_told) < MOST_QUERIES_TOLD:
            self._queries_told.add(query)
            log.error(
                "a ForwardAuth asks with the query %r and is refused: its query must be exactly ?model=NAME",
                query[:200],
            )
        return "the query of ForwardAuth's address is not exactly ?model=NAME"

    async def _repay(self) -> None:
        """Count the calls that passed without Redis, soon after it is back."""
        while True:
            await asyncio.sleep(REPAY_SECONDS)
            if self.lookup.owed:
                try:
                    counted = await self.lookup.owed.repay(self.lookup.link)
                    log.warning("counted the calls of %d keys and models while redis was away", counted)
                except StoreUnavailable:
                    pass  # the debts stay
                except Exception:
                    log.exception("calls that passed without redis could not be counted; trying again")

    def _note(self, decision: Decision, asked: GateRequest, identity: bytes, began: float) -> None:
        why, is_refusal = decision.why, decision.verdict is not ALLOWED
        if decision.verdict is PIN_MISMATCH and decision.request is None:
            why = self._tell_of_query(asked.query)
        if not self._log.has_room(is_refusal=is_refusal):
            return
        line = line_of(decision, asked, identity, monotonic() - began)
        if why:
            line["why"] = why
        if not is_refusal and self._share_logged < 1:
            line["share"] = self._share_logged
        self._log.write(line, is_refusal=is_refusal)


def line_of(decision: Decision, asked: GateRequest, identity: bytes, seconds: float) -> dict[str, object]:
    """A decision for the log."""
    known, request = decision.known, decision.request
    line: dict[str, object] = {
        "log": "decision",
        "verdict": decision.verdict.word,
        "key": known.key.public_id if known else "",
        "account": known.account.public_id if known else "",
        "model": decision.model,
        "ms": round(seconds * 1000, 2),
        "request_id": identity.decode(),
    }
    if request is not None:
        return line | {"method": request.method, "path": request.path[:512], "client": request.client}
    # A request that was not understood is shown as it came, without its query, which may hold anything.
    uri, _, _ = asked.headers.get(b"x-forwarded-uri", b"").partition(b"?")
    return line | {
        "method": asked.headers.get(b"x-forwarded-method", b"").decode("latin-1")[:32],
        "path": uri.decode("latin-1")[:512],
        "client": asked.headers.get(b"x-forwarded-for", b"").decode("latin-1")[:64],
    }


def _spans() -> Spans | None:
    if not settings.OTEL_URL:
        return None
    from authsvc.gate.spans import Spans  # here, because OpenTelemetry may not be installed

    return Spans(settings.OTEL_URL, settings.VERSION)


_gates: dict[asyncio.AbstractEventLoop, Gate] = {}


def gate() -> Gate:
    """This event loop's gate, made on first use."""
    loop = asyncio.get_running_loop()
    found = _gates.get(loop)
    if found is None:
        for ended in [known for known in _gates if known.is_closed()]:
            del _gates[ended]
        found = _gates[loop] = Gate()
        found.open()
    return found


async def close_gate() -> None:
    """Close this event loop's gate, if it was made."""
    found = _gates.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()


def is_for_the_gate(path: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether Traefik asks: by the path, or on any path by a header that only ForwardAuth sends."""
    if path == PATH:
        return True
    return any(name == b"x-forwarded-uri" for name, _ in headers)


async def serve(gate: Gate, scope: Scope, send: Send) -> None:
    """Answer one question over ASGI."""
    status, headers, body = await gate.answer(scope["path"], scope["query_string"], scope["headers"])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
