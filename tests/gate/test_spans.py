"""Traces: the gate's span is the child of its caller's, and no collector can slow a decision."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from authsvc import __version__
from authsvc.gate import spans as gate_spans
from authsvc.gate.app import close_gate, gate
from authsvc.gate.decision import Decision
from authsvc.gate.spans import MOST_AT_ONCE, MOST_WAITING, Spans
from authsvc.gate.verdict import Verdict
from runtime import measures, replica
from tests.gate.test_metrics import raised
from tests.servers import ROOT, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Collector:
    """An OTLP receiver. With `hangs` it reads and does not answer until the test is over."""

    def __init__(self) -> None:
        self.received: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        self.asked, self.may_answer, self.status = threading.Event(), threading.Event(), 200
        self.may_answer.set()
        collector = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked.set()
                collector.may_answer.wait(60)
                collector.paths.append(self.path)
                collector.received.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, *_) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [
            span
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(autouse=True)
def _no_thread_stays():
    """An export that is trying again would log, and take up memory, in other tests. Ends after all other fixtures."""
    yield
    for thread in threading.enumerate():
        if thread.name == "spans":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def collector(settings, monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    found = Collector()
    settings.OTEL_URL = found.url
    yield found
    found.close()


def attributes(span) -> dict[str, object]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_the_span_of_a_decision_is_the_child_of_its_caller_s(ask, issued, collector, on_a_loop):
    before = time.time_ns()
    assert ask(issued.text, traceparent=SAMPLED).status == 200
    on_a_loop(close_gate())
    (span,) = collector.spans()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert len(span.span_id) == 8 and span.span_id.hex() != PARENT
    assert before - 1_000_000 <= span.start_time_unix_nano < span.end_time_unix_nano <= time.time_ns()
    assert attributes(span) == {
        "authsvc.verdict": "allowed",
        "authsvc.model": "sm",
        "authsvc.key": issued.key.public_id,
        "http.response.status_code": 200,
    }
    resource = collector.received[0].resource_spans[0].resource
    assert {"service.name": "authsvc", "service.version": __version__}.items() <= attributes(resource).items()
    assert collector.paths == ["/v1/traces"]


def test_no_span_holds_a_key_or_a_path(ask, issued, collector, on_a_loop):
    ask(issued.text, traceparent=SAMPLED, x_forwarded_uri="/sm/private?q=1")
    on_a_loop(close_gate())
    told = str(collector.received)
    assert issued.text[21:40] not in told and "private" not in told


@pytest.mark.parametrize("header", [None, UNSAMPLED, "00-nonsense-01", f"00-{'0' * 32}-{PARENT}-01"])
def test_without_a_sampled_trace_nothing_is_sent(ask, issued, collector, on_a_loop, header):
    assert ask(issued.text, **({"traceparent": header} if header else {})).status == 200
    on_a_loop(close_gate())
    assert collector.received == []


def test_a_decision_that_could_not_be_made_is_an_error(ask, issued, collector, on_a_loop, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert ask(issued.text, traceparent=SAMPLED).status == 503
    on_a_loop(close_gate())
    (span,) = collector.spans()
    assert span.status.code == 2 and attributes(span)["authsvc.verdict"] == "cannot_decide"


@pytest.mark.parametrize(("flags", "is_sampled"), [("03", True), ("02", False), ("ff", True), ("fe", False)])
def test_only_the_flag_for_sampling_counts(ask, issued, collector, on_a_loop, flags, is_sampled):
    ask(issued.text, traceparent=f"00-{TRACE}-{PARENT}-{flags}")
    on_a_loop(close_gate())
    assert len(collector.spans()) == is_sampled


def test_a_refusal_is_no_error_and_its_span_lasts_as_long_as_the_decision(collector, on_a_loop):
    spans = Spans(collector.url, "1")
    spans.note(Decision(Verdict.NO_KEY), SAMPLED.encode(), 0.25)
    on_a_loop(spans.close())
    (span,) = collector.spans()
    assert span.status.code == 0
    assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
    assert span.flags & 0x300 == 0x300  # the parent is somebody else's


def test_spans_are_sent_without_waiting_for_the_end(ask, issued, collector):
    ask(issued.text, traceparent=SAMPLED)
    wait_until(lambda: len(collector.spans()) == 1, "the span")


def test_a_collector_that_hangs_costs_spans_and_no_time(collector, on_a_loop, monkeypatch):
    monkeypatch.setattr(gate_spans, "EXPORT_SECONDS", 0.5)
    collector.may_answer.clear()
    spans, decision = Spans(collector.url, "1"), Decision(Verdict.NO_KEY)
    spans.note(decision, SAMPLED.encode(), 0.001)
    assert collector.asked.wait(20)

    def flood() -> None:
        for _ in range(MOST_WAITING + MOST_AT_ONCE):
            spans.note(decision, SAMPLED.encode(), 0.001)

    assert raised(flood, measures.SPANS) == {"dropped": MOST_AT_ONCE}
    began = time.monotonic()
    on_a_loop(spans.close())
    assert time.monotonic() - began < gate_spans.FAREWELL_SECONDS + 10


def test_what_a_collector_does_not_take_is_counted(collector, on_a_loop):
    collector.status = 400
    spans = Spans(collector.url, "1")

    def fail() -> None:
        spans.note(Decision(Verdict.NO_KEY), SAMPLED.encode(), 0.001)
        on_a_loop(spans.close())

    assert raised(fail, measures.SPANS) == {"failed": 1}
    assert replica.totals()["authsvc_spans failed"] >= 1


def test_without_the_setting_there_are_no_spans_and_no_thread(ask, issued, on_a_loop, settings):
    settings.OTEL_URL = ""
    ask(issued.text, traceparent=SAMPLED)

    async def spans():
        return gate()._spans

    assert on_a_loop(spans()) is None


def test_a_gate_without_the_setting_loads_no_exporter():
    """redis-py loads OpenTelemetry's interfaces itself where they are installed."""
    code = (
        "import django, sys; django.setup(); import authsvc.gate.app; "
        "sys.exit(any(name.startswith(('opentelemetry.exporter', 'authsvc.gate.spans')) for name in sys.modules))"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, timeout=60, check=False)
    assert done.returncode == 0
