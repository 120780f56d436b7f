"""The ASGI callable: reads, decides, answers, counts, logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic, time
from typing import Any

from django.conf import settings

from accounts.facts.lookup import FactsUnavailable, Lookup
from accounts.keys import KeyReader, PresentedKey
from accounts.peppers import peppers
from authsvc.gate.answer import Answer, answer, head
from authsvc.gate.decision import decide
from authsvc.gate.forwarded import (
    PROTOCOLS,
    WANTED,
    WANTED_OF_BROWSERS,
    ForwardedRequest,
    read_forwarded,
    read_headers,
    request_id,
)
from authsvc.gate.log import DecisionLog
from authsvc.gate.presented import ForeignKey, read_key, without_keys
from authsvc.gate.verdict import Decision, Verdict
from runtime.replica import count
from store.clients import StoreUnavailable
from store.link import close_link, link
from store.pipe import DECISION_SECONDS

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

PATH = "/auth/"
REPAY_SECONDS = 0.5
MOST_QUERIES_TOLD = 16

log = logging.getLogger(__name__)


class Gate:
    """Decides what Traefik asks. One for each event loop."""

    def __init__(self, kind: type[Lookup] = Lookup) -> None:
        known = peppers()
        self._reader = KeyReader(settings.KEY_PREFIX, known)
        self.lookup = kind(link(), known)
        self._wanted = WANTED_OF_BROWSERS if settings.WEBSOCKET_KEYS else WANTED
        self._imported = bool(settings.IMPORTED_KEYS)
        self._logs_all = settings.LOG_DECISIONS == "all"
        self._log = DecisionLog()
        self._queries_told: set[bytes] = set()
        self._repaying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to connect, so that the first question need not wait for it."""
        self.lookup.link.open()
        if settings.WHEN_REDIS_IS_DOWN == "allow":
            self._repaying = asyncio.get_running_loop().create_task(self._repay())

    async def know_whose(self) -> None:
        """For a server, before its first question: the gate of another deployment must not read this one's facts."""
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
        self._log.flush()

    async def answer(self, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        """What Traefik gets for a question's path, query and headers (names in lower case)."""
        return answer(*await self.decide(path, query, headers))

    async def decide(self, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[Decision, bytes]:
        """Decide, count and log; the decision and the request's id."""
        began = monotonic()
        found, twice = read_headers(headers, self._wanted)
        request = read_forwarded(found, twice, query) if path == PATH else Verdict.NOT_FORWARDED
        if isinstance(request, Verdict):
            decision = Decision(request)
            if request is Verdict.PIN_MISMATCH:
                decision.why = self._tell_of_query(query)
        else:
            try:
                decision = await self._decide(request, found, began)
            except Exception as error:  # a fault of ours is no verdict on the caller
                log.exception("a decision failed")
                decision = Decision(Verdict.CANNOT_DECIDE, why=type(error).__name__)
        if PROTOCOLS in found:
            decision.protocols = without_keys(found[PROTOCOLS])
        verdict, identity = decision.verdict, request_id(found)
        count(verdict.word)
        if verdict is not Verdict.ALLOWED or self._logs_all:
            self._note(decision, request, found, identity, began)
        return decision, identity

    async def _decide(self, request: ForwardedRequest, found: dict[bytes, bytes], began: float) -> Decision:
        presented = self._read_key(found)
        if not isinstance(presented, PresentedKey):
            known = await self._know(presented, found, began)
            if isinstance(known, Decision):
                return known
            presented = known
        return await decide(request, presented, time(), began, self.lookup)

    async def read(self, found: dict[bytes, bytes], began: float) -> PresentedKey | Decision:
        """The key that these headers present, or the decision on what is none."""
        return await self._know(self._read_key(found), found, began)

    async def _know(
        self, presented: PresentedKey | ForeignKey | Verdict, found: dict[bytes, bytes], began: float
    ) -> PresentedKey | Decision:
        """The same, where the string alone does not tell."""
        try:
            async with asyncio.timeout(DECISION_SECONDS - (monotonic() - began)):
                if presented is Verdict.FORGED_KEY and self.lookup.catalogue is None:
                    # Only the catalogue tells whether a check may belong to a pepper that is gone: a cold process asks.
                    await self.lookup.learn_catalogue(DECISION_SECONDS)
                    presented = self._read_key(found)
                if isinstance(presented, ForeignKey):
                    imported = await self.lookup.find_imported(presented.text)
                    return imported or Decision(Verdict.UNKNOWN_KEY)
        except (TimeoutError, StoreUnavailable, FactsUnavailable) as error:
            return Decision(Verdict.CANNOT_DECIDE, why=str(error) or "out of time")
        return Decision(presented) if isinstance(presented, Verdict) else presented

    def _tell_of_query(self, query: bytes) -> str:
        """A question's own query that is not exactly one pin is the operator's to mend: each is an error, once."""
        if query not in self._queries_told and len(self._queries_told) < MOST_QUERIES_TOLD:
            self._queries_told.add(query)
            log.error("a ForwardAuth asks with the query %r and is refused: write ?model=NAME, alone", query[:200])
        return "the query of ForwardAuth's address is not exactly ?model=NAME"

    async def _repay(self) -> None:
        """Count what passed without Redis, soon after its return."""
        while True:
            await asyncio.sleep(REPAY_SECONDS)
            if self.lookup.owed:
                try:
                    counted = await self.lookup.owed.repay(self.lookup.link)
                    log.warning("counted what %d keys and models did while redis was away", counted)
                except StoreUnavailable:
                    pass  # what is owed stays owed
                except Exception:
                    log.exception("what is owed could not be counted; trying again")

    def _read_key(self, found: dict[bytes, bytes]) -> PresentedKey | ForeignKey | Verdict:
        catalogue = self.lookup.catalogue
        trust_crc = catalogue is not None and catalogue.foreign_checks
        return read_key(found, self._reader, imported=self._imported, trust_crc=trust_crc)

    def _note(
        self,
        decision: Decision,
        request: ForwardedRequest | Verdict,
        found: dict[bytes, bytes],
        identity: bytes,
        began: float,
    ) -> None:
        known = decision.known
        line: dict[str, object] = {
            "log": "decision",
            "verdict": decision.verdict.word,
            "key": known.key.public_id if known else "",
            "account": known.account.public_id if known else "",
            "model": decision.model,
            "ms": round((monotonic() - began) * 1000, 2),
            "request_id": identity.decode(),
        }
        if isinstance(request, ForwardedRequest):
            line |= {"method": request.method, "path": request.path[:512], "client": request.client}
        else:
            # What could not be understood is shown as it came, without its query, which may hold anything.
            uri, _, _ = found.get(b"x-forwarded-uri", b"").partition(b"?")
            line |= {
                "method": found.get(b"x-forwarded-method", b"").decode("latin-1")[:32],
                "path": uri.decode("latin-1")[:512],
                "client": found.get(b"x-forwarded-for", b"").decode("latin-1")[:64],
            }
        if decision.why:
            line["why"] = decision.why
        self._log.write(line)


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
    """Close this event loop's gate, if there is one."""
    found = _gates.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()


def is_for_the_gate(path: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether Traefik asks: by the path, or by a header that only ForwardAuth sends, whatever the path."""
    if path == PATH:
        return True
    return any(name == b"x-forwarded-uri" for name, _ in headers)


async def serve(gate: Gate, scope: Scope, send: Send) -> None:
    """Answer one question over ASGI."""
    decision, identity = await gate.decide(scope["path"], scope["query_string"], scope["headers"])
    if decision.verdict is Verdict.ALLOWED and decision.terms is not None and decision.tally is not None:
        at_once = scope.get("extensions", {}).get("authsvc.answer_at_once")  # our worker class has it, others do not
        if (
            at_once is not None
            and not decision.protocols
            and at_once(head(decision.terms, decision.tally.meters, identity))
        ):
            return
    status, headers, body = answer(decision, identity)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
