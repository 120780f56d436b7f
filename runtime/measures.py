"""Every metric that is counted, by name. What is only looked up when Prometheus asks is in `runtime.health`."""

from __future__ import annotations

from runtime.series import NANOSECONDS, SharedCounter, SharedGauge, SharedHistogram
from store.meter import FAILURES, PipeMeter
from store.pipe import Pipe

# The gate.
DECISIONS = SharedCounter("authsvc_decisions", "Decisions by verdict and model.", "verdict", "model")
DECISION_TIME = SharedHistogram(
    "authsvc_decision_seconds",
    "How long the gate took to decide.",
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    unit=NANOSECONDS,
)
OVER_LIMIT = SharedCounter(
    "authsvc_over_limit", "Limits that refused a call, by their kind.", "scope", "window", "unit"
)
SHADOW_REFUSALS = SharedCounter(
    "authsvc_shadow_refusals", "Allowed calls that a limit in shadow would have refused.", "model"
)
FACTS = SharedCounter("authsvc_facts_lookups", "Look-ups of a key's facts, by where they were found.", "found").expect(
    "process", "redis", "database", "nowhere"
)
LOG_LINES = SharedCounter(
    "authsvc_log_lines", "Decisions that were to be logged, by what became of the line.", "fate"
).expect("written", "left_out")
SPANS = SharedCounter("authsvc_spans", "Spans of traced decisions, by what became of them.", "fate").expect(
    "sent", "failed", "dropped"
)

# The gate's way to Redis.
BATCH_SIZE = SharedHistogram(
    "authsvc_redis_batch_commands",
    "Commands that went to Redis in one batch.",
    (1, 2, 4, 8, 16, 32, 64, 128, 256),
    unit=1,
)
BATCH_TIME = SharedHistogram(
    "authsvc_redis_batch_seconds",
    "From sending a batch to Redis to its last reply.",
    (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15),
    unit=NANOSECONDS,
)
REDIS_FAILURES = SharedCounter("authsvc_redis_failures", "Failures on the gate's way to Redis.", "how").expect(
    *FAILURES
)
BREAKERS_OPEN = SharedGauge(
    "authsvc_redis_breakers_open", "Connections to Redis that no decision waits for, because they failed."
)

# The console.
SIGN_INS = SharedCounter("authsvc_sign_ins", "Attempts to sign in, by how they ended.", "outcome").expect(
    "signed_in", "throttled", "password", "second_factor", "identity_provider", "change_of_the_password"
)
MAILS = SharedCounter("authsvc_mails", "Mails, by whether the mail server took them.", "outcome").expect(
    "sent", "failed"
)

# The worker.
TURNS = SharedCounter("authsvc_worker_turns", "The worker's turns, by how they ended.", "outcome").expect(
    "completed", "redis_failed", "database_failed"
)
PUBLISHED = SharedCounter("authsvc_published_parts", "Parts of facts that the worker published.", "why").expect(
    "changed", "again"
)
COPIED = SharedCounter("authsvc_usage_copied", "Usage of a key, model and hour copied to the database.")

COUNTED = (
    DECISIONS,
    DECISION_TIME,
    OVER_LIMIT,
    SHADOW_REFUSALS,
    FACTS,
    LOG_LINES,
    SPANS,
    BATCH_SIZE,
    BATCH_TIME,
    REDIS_FAILURES,
    BREAKERS_OPEN,
    SIGN_INS,
    MAILS,
    TURNS,
    PUBLISHED,
    COPIED,
)


class RedisMeter(PipeMeter):
    """Counts what the pipes report."""

    def answered(self, commands: int, seconds: float) -> None:
        BATCH_SIZE.observe(commands)
        BATCH_TIME.observe(seconds)

    def failed(self, how: str) -> None:
        REDIS_FAILURES.count(how)

    def broke(self) -> None:
        BREAKERS_OPEN.add(1)

    def mended(self) -> None:
        BREAKERS_OPEN.add(-1)


def measure_pipes() -> None:
    """From now on this process's pipes are measured."""
    Pipe.meter = RedisMeter()
