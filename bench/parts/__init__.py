"""The parts of the benchmark, in the order in which all of them run."""

from __future__ import annotations

from bench.contest import Part
from bench.parts.behind_traefik import in_the_gates_place, traefiks_own_limit
from bench.parts.gate import (
    against_an_empty_answer,
    against_oauth2_proxy,
    against_the_obvious_way,
    cold_keys,
    forged_keys,
    without_counting,
)
from bench.parts.many import a_million_keys, importing, publishing_again

PARTS = (
    Part("empty", "the gate against an empty ASGI answer of the stock worker", against_an_empty_answer),
    Part("forged", "forged and malformed keys against allowed ones", forged_keys, turns=3),
    Part("metrics", "what counting for /metrics costs: the gate against itself without it", without_counting),
    Part("cold", "keys whose facts come out of Redis or the database", cold_keys, turns=3, set_up=20),
    Part(
        "traefik",
        "through a real Traefik: the gate against nginx 204 in its place, at 1, 16 and 64 connections",
        in_the_gates_place,
        needs=("wrk", "nginx"),
        turns=12,
        set_up=10,
    ),
    Part(
        "ratelimit",
        "through a real Traefik: alone, with its own rateLimit on Redis, and asking the gate",
        traefiks_own_limit,
        needs=("wrk", "nginx"),
        turns=3,
        set_up=10,
    ),
    Part("obvious", "the gate against Django REST framework, as one would write it first", against_the_obvious_way),
    Part(
        "oauth2-proxy",
        "the gate against oauth2-proxy checking a password",
        against_oauth2_proxy,
        needs=("wrk", "oauth2-proxy"),
    ),
    Part(
        "many",
        "a thousand keys against a million in 100,000 accounts; memory of the gate and of Redis",
        a_million_keys,
        set_up=660,
    ),
    Part("import", "importing keys of another system", importing, needs=(), turns=1, set_up=20),
    Part("publish", "publishing everything into an empty Redis", publishing_again, needs=(), turns=1, set_up=40),
)
