"""The headers between Traefik, the gate and a model: the single list behind labels, checks and docs."""

from __future__ import annotations

# Headers that carry a client's key. The model must never see them.
CREDENTIALS = ("Authorization", "X-Api-Key")

# Carries the key of a browser's websocket, where gates have AUTHSVC_WEBSOCKET_KEYS. It goes into both lists below or
# into neither: the gate answers with the value to pass on to the model.
PROTOCOLS = "Sec-WebSocket-Protocol"

# `authRequestHeaders`: the client headers that reach the gate, besides Traefik's own X-Forwarded-*.
ASKED = (*CREDENTIALS, "Traceparent")

# Headers that the gate may set when it allows a call.
ANSWERED = (
    "X-Auth-Account",
    "X-Auth-Key",
    "X-Auth-Plan",
    "X-Auth-Model",
    "X-Auth-Request-Id",
    "RateLimit",
    "RateLimit-Policy",
)

# `authResponseHeaders`: each of these is replaced by the gate's value, or removed if the gate sends none. So clients
# cannot forge those of ANSWERED, and CREDENTIALS never reach the model.
RELAYED = (*ANSWERED, *CREDENTIALS)

LONGEST_ANSWER = 65536  # `maxResponseBodySize`: without it Traefik reads any amount; our answers are 2 KB at most
