"""A span for each decision whose caller is being traced, sent by OTLP. Only loaded with AUTHSVC_OTEL_URL.

Decisions only put a tuple into a bounded queue. A thread makes spans of them and sends these, so a collector that hangs
costs spans and never time. OpenTelemetry's own batch processor logs a warning in the caller's thread when it is full.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from secrets import randbits
from threading import Event, Thread
from time import time_ns
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from authsvc.gate.decision import Decision
from authsvc.gate.verdict import Verdict
from runtime.measures import SPANS

MOST_WAITING = 2048
MOST_AT_ONCE = 512
PAUSE_SECONDS = 1.0
EXPORT_SECONDS = 5.0
FAREWELL_SECONDS = 2.0  # for what waits when the gate ends

_SAMPLED = 1
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class Decided(NamedTuple):
    """What a span is made of."""

    traceparent: bytes
    ended: int  # nanoseconds since 1970
    seconds: float
    verdict: Verdict
    model: str
    key: str


class Spans:
    """The spans of one gate."""

    def __init__(self, url: str, version: str) -> None:
        self._url = url
        self._resource = Resource.create({"service.name": "authsvc", "service.version": version})
        self._scope = InstrumentationScope("authsvc.gate", version)
        self._waiting: deque[Decided] = deque()
        self._due, self._is_over = Event(), False
        self._thread: Thread | None = None

    def note(self, decision: Decision, traceparent: bytes, seconds: float) -> None:
        """Called for each decision with a `traceparent`, valid or not."""
        if len(self._waiting) >= MOST_WAITING:
            SPANS.count("dropped")
            return
        key = decision.known.key.public_id if decision.known is not None else ""
        self._waiting.append(Decided(traceparent, time_ns(), seconds, decision.verdict, decision.model, key))
        if self._thread is None:  # not before the first span: a thread does not survive gunicorn's fork
            self._thread = Thread(target=self._run, name="spans", daemon=True)
            self._thread.start()
        if len(self._waiting) >= MOST_AT_ONCE:
            self._due.set()

    async def close(self) -> None:
        """Send what waits, for a moment at most."""
        if self._thread is None:
            return
        loop, ended, thread = asyncio.get_running_loop(), asyncio.Event(), self._thread
        self._is_over = True
        self._due.set()

        def wait() -> None:
            thread.join(FAREWELL_SECONDS)
            loop.call_soon_threadsafe(ended.set)

        Thread(target=wait, name="spans' end", daemon=True).start()
        await ended.wait()

    def _run(self) -> None:
        exporter = OTLPSpanExporter(f"{self._url.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        while not self._is_over:
            self._due.wait(PAUSE_SECONDS)
            self._due.clear()
            self._send_all(exporter)
        self._send_all(exporter)

    def _send_all(self, exporter: SpanExporter) -> None:
        while spans := list(self._take()):
            sent = exporter.export(spans) is SpanExportResult.SUCCESS
            SPANS.add_in_a_thread(len(spans), "sent" if sent else "failed")

    def _take(self) -> Iterator[ReadableSpan]:
        for _ in range(min(len(self._waiting), MOST_AT_ONCE)):
            span = self._span_of(self._waiting.popleft())
            if span is not None:
                yield span

    def _span_of(self, decided: Decided) -> ReadableSpan | None:
        """None where the caller's trace is not sampled: that was decided where the trace began."""
        parent = _PARENT.fullmatch(decided.traceparent)
        if parent is None or not int(parent[3], 16) & _SAMPLED:
            return None
        trace, flags = int(parent[1], 16), TraceFlags(TraceFlags.SAMPLED)
        verdict = decided.verdict
        return ReadableSpan(
            name="authsvc decide",
            context=SpanContext(trace, randbits(64) or 1, is_remote=False, trace_flags=flags),
            parent=SpanContext(trace, int(parent[2], 16), is_remote=True, trace_flags=flags),
            resource=self._resource,
            attributes={
                "authsvc.verdict": verdict.word,
                "authsvc.model": decided.model,
                "authsvc.key": decided.key,
                "http.response.status_code": verdict.status,
            },
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if verdict is Verdict.CANNOT_DECIDE else StatusCode.UNSET),
            start_time=decided.ended - int(decided.seconds * 1e9),
            end_time=decided.ended,
            instrumentation_scope=self._scope,
        )
