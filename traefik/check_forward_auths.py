"""Checks of ForwardAuth middlewares that ask the gate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from traefik import headers
from traefik.api import Middleware, Router
from traefik.auth_address import PATH, AuthAddress, auth_address
from traefik.findings import Finding, Mistake
from traefik.stack import REWRITES, Stack

_ASK = f"authRequestHeaders: [{', '.join(headers.ASKED)}]"
_RELAY = f"authResponseHeaders: [{', '.join(headers.RELAYED)}]"


def check_forward_auths(stack: Stack) -> Iterator[Finding]:
    """Check each middleware once, however many routers use it."""
    seen: set[str] = set()
    for router in stack.gated:
        for middleware, address in stack.asked(router):
            if middleware.name not in seen:
                seen.add(middleware.name)
                yield from _of_middleware(stack, router, middleware, address)
        yield from _of_router(stack, router)


def _of_middleware(stack: Stack, router: Router, middleware: Middleware, address: AuthAddress) -> Iterator[Finding]:
    where = f"middleware {middleware.name}"
    yield from _address(stack, router, where, address)
    if address.scheme == "https":
        yield from _certificate(stack, where, address, middleware.options.get("tls") or {})
    if middleware.options.get("trustForwardHeader"):
        yield Finding(
            Mistake.TRUSTED_FORWARD_HEADER,
            where,
            "A client's own X-Forwarded-Uri and -Method may reach the gate, which then judges a different request.",
            ("trustForwardHeader: false",),
        )
    yield from _asked(where, list(middleware.options.get("authRequestHeaders") or []))
    if middleware.options.get("forwardBody"):
        yield Finding(
            Mistake.BODY_ASKED,
            where,
            "Traefik keeps each upload in memory and sends it to the gate, which ignores it.",
            ("forwardBody: false",),
        )
    if int(middleware.options.get("maxResponseBodySize") or -1) < 0:
        yield Finding(
            Mistake.UNBOUNDED_ANSWER,
            where,
            "Traefik reads answers of any size from the gate's address into memory.",
            (f"maxResponseBodySize: {headers.LONGEST_ANSWER}",),
        )


def _address(stack: Stack, router: Router, where: str, address: AuthAddress) -> Iterator[Finding]:
    model = address.pin or stack.model_at(router) or "NAME"
    right = (f'address: "{auth_address(address.origin, model)}"',)
    if address.path != PATH:
        yield Finding(
            Mistake.NO_TRAILING_SLASH,
            where,
            f"It calls {address.path}, but the gate answers only at {PATH}.",
            right,
        )
    if address.pin == "":
        yield Finding(
            Mistake.NO_PIN,
            where,
            "Its address has no ?model=, so only the path, which the client writes, decides which model is meant.",
            right,
        )
    elif address.pin is None:
        yield Finding(
            Mistake.BAD_PIN,
            where,
            "The query of its address is not exactly ?model=NAME, so the gate refuses every request.",
            right,
        )


def _certificate(stack: Stack, where: str, address: AuthAddress, tls: Mapping[str, Any]) -> Iterator[Finding]:
    unchecked = bool(tls.get("insecureSkipVerify"))
    if unchecked and not address.is_of_this_machine:
        yield Finding(
            Mistake.GATE_UNCHECKED,
            where,
            f"It calls {address.origin} without verifying the certificate: a man in the middle can answer 200.",
            ("tls:", "  ca: /path/of/the/authority.pem"),
        )
    if not unchecked and not tls.get("ca") and address in stack.asked_of_traefik:
        yield Finding(
            Mistake.GATE_UNTRUSTED,
            where,
            "It calls Traefik itself, whose certificate is not signed by any authority: every call gets 500.",
            ("tls:", "  insecureSkipVerify: true"),
        )


def _asked(where: str, asked: list[str]) -> Iterator[Finding]:
    if not asked:
        yield Finding(
            Mistake.ALL_HEADERS_ASKED,
            where,
            "All client headers reach the gate, including cookies and SCRIPT_NAME.",
            (_ASK,),
        )
        return
    names = {name.lower() for name in asked}
    if more := [name for name in asked if name.lower() not in _lower([*headers.ASKED, headers.PROTOCOLS])]:
        yield Finding(
            Mistake.MORE_HEADERS_ASKED,
            where,
            f"The gate is sent {', '.join(more)}, which it never reads.",
            (_ASK,),
        )
    if missing := [name for name in headers.CREDENTIALS if name.lower() not in names]:
        yield Finding(
            Mistake.KEY_NOT_ASKED,
            where,
            f"A key in {' or '.join(missing)} does not reach the gate, so the answer is 401.",
            (_ASK,),
        )


def _of_router(stack: Stack, router: Router) -> Iterator[Finding]:
    where = f"router {router.name}"
    chain, asked = stack.chains[router.name], stack.asked(router)
    if len(asked) > 1:
        names = " and ".join(middleware.name for middleware, _ in asked)
        yield Finding(
            Mistake.ASKED_TWICE,
            where,
            f"{names} both ask the gate, and each time counts as a call.",
            (f"middlewares: [{', '.join(_without(router, asked[1][0]))}]",),
        )
    first = asked[0][0]
    before = stack.before_the_gate(router)
    for rewrite in (middleware for middleware in before if middleware.kind in REWRITES):
        order = [name for name in router.middlewares if name != rewrite.name]
        yield Finding(
            Mistake.GATE_AFTER_REWRITE,
            where,
            f"{rewrite.name} changes the path before {first.name} asks, so the gate judges a different path.",
            (f"middlewares: [{', '.join([*order, rewrite.name])}]",),
        )
    gone = list(_removed(chain, first))
    if missing := [name for name in headers.ANSWERED if name.lower() not in gone and not _matches(first, name)]:
        yield Finding(
            Mistake.FORGEABLE_HEADER,
            where,
            f"A client's own {', '.join(missing)} gets past {first.name} to the model.",
            (_RELAY,),
        )
    asked_for = _lower(first.options.get("authRequestHeaders") or [])
    kept_back = [*headers.CREDENTIALS, *([headers.PROTOCOLS] if headers.PROTOCOLS.lower() in asked_for else [])]
    if missing := [name for name in kept_back if name.lower() not in gone and not _matches(first, name)]:
        yield Finding(
            Mistake.KEY_REACHES_MODEL,
            where,
            f"A key in {' or '.join(missing)} gets past {first.name} to the model.",
            (_RELAY,),
        )


def _without(router: Router, middleware: Middleware) -> list[str]:
    return [name for name in router.middlewares if name != middleware.name]


def _removed(chain: Iterable[Middleware], forward_auth: Middleware) -> Iterator[str]:
    """Client headers that do not reach the model, in lower case."""
    yield from _lower(forward_auth.options.get("authResponseHeaders") or [])
    chain = list(chain)
    for middleware in chain[chain.index(forward_auth) + 1 :]:
        if middleware.kind == "headers":
            yield from _lower(middleware.options.get("customRequestHeaders") or {})


def _matches(forward_auth: Middleware, name: str) -> bool:
    pattern = str(forward_auth.options.get("authResponseHeadersRegex") or "")
    try:
        return bool(pattern) and re.search(pattern, name) is not None
    except re.error:
        return False


def _lower(names: Iterable[str]) -> set[str]:
    return {str(name).lower() for name in names}
