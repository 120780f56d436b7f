"""The headers between Traefik, the gate and a model: the one list that labels, checks and docs are held to."""

from __future__ import annotations

# What a client sends its key in. The model must never see it.
CREDENTIALS = ("Authorization", "X-Api-Key")

# What a browser's websocket offers its key in, where gates have AUTHSVC_WEBSOCKET_KEYS. It stands in both lists below
# or in neither: the gate answers with what is left of it for the model.
PROTOCOLS = "Sec-WebSocket-Protocol"

# `authRequestHeaders`: what of a client's headers reaches the gate. Traefik's own X-Forwarded-* come on top.
ASKED = (*CREDENTIALS, "Traceparent")

# What an answer of the gate that lets a call pass can carry.
ANSWERED = (
    "X-Auth-Account",
    "X-Auth-Key",
    "X-Auth-Plan",
    "X-Auth-Model",
    "X-Auth-Request-Id",
    "RateLimit",
    "RateLimit-Policy",
)

# `authResponseHeaders`: a listed header is replaced by the gate's, or removed where the gate sends none. So a client
# can forge none of the first, and the last never reach the model.
RELAYED = (*ANSWERED, *CREDENTIALS)

LONGEST_ANSWER = 65536  # `maxResponseBodySize`: without it Traefik reads whatever it is sent; ours are 2 KB at most
