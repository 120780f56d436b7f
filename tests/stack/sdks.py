"""What the SDKs that run in a browser send, as their sources have it: each name is asked for in a preflight."""

from __future__ import annotations

_STAINLESS = (
    "x-stainless-lang",
    "x-stainless-package-version",
    "x-stainless-os",
    "x-stainless-arch",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-retry-count",
    "x-stainless-timeout",
)

SDKS = {
    "openai": (
        "authorization",
        "content-type",
        "accept",
        "user-agent",
        *_STAINLESS,
        "openai-organization",
        "openai-project",
        "openai-beta",
        "idempotency-key",
        "x-stainless-helper-method",
        "x-stainless-poll-helper",
        "x-stainless-custom-poll-interval",
        "x-stainless-async",
    ),
    "anthropic": (
        "x-api-key",
        "content-type",
        "accept",
        *_STAINLESS,
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "x-stainless-helper",
        "x-stainless-helper-method",
    ),
    "cohere": (
        "authorization",
        "x-client-name",
        "x-fern-language",
        "x-fern-sdk-name",
        "x-fern-sdk-version",
        "x-fern-runtime",
    ),
    "a fetch that is traced": (
        "authorization",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-request-id",
        "cache-control",
    ),
    "an event source": ("authorization", "last-event-id", "accept", "cache-control"),
}
