"""Mistakes of a ForwardAuth that asks the gate."""

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
    """Each middleware once, however many routers have it."""
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
            Mistake.TRUSTED_FORWARD_HEADER, where,
            "A client's own X-Forwarded-Uri and -Method may pass, and the gate decides about another request.",
            ("trustForwardHeader: false",),
        )  # fmt: skip
    yield from _asked(where, list(middleware.options.get("authRequestHeaders") or []))
    if middleware.options.get("forwardBody"):
        yield Finding(
            Mistake.BODY_ASKED, where, "Each upload stays in Traefik's memory and sent to the gate, in vain.",
            ("forwardBody: false",),
        )  # fmt: skip
    if int(middleware.options.get("maxResponseBodySize") or -1) < 0:
        yield Finding(
            Mistake.UNBOUNDED_ANSWER, where, "Traefik reads whatever the gate's address answers into memory.",
            (f"maxResponseBodySize: {headers.LONGEST_ANSWER}",),
        )  # fmt: skip


def _address(stack: Stack, router: Router, where: str, address: AuthAddress) -> Iterator[Finding]:
    model = address.pin or stack.model_at(router) or "NAME"
    right = (f'address: "{auth_address(address.origin, model)}"',)
    if address.path != PATH:
        yield Finding(
            Mistake.NO_TRAILING_SLASH, where,
            f"It asks at {address.path}; the gate answers at {PATH} and refuses all else.", right,
        )  # fmt: skip
    if address.pin == "":
        yield Finding(
            Mistake.NO_PIN, where,
            "Its address has no ?model=: the path alone, which a client writes, decides which model is meant.", right,
        )  # fmt: skip
    elif address.pin is None:
        yield Finding(
            Mistake.BAD_PIN, where,
            "The query of its address is not exactly ?model=NAME: the gate refuses every request.", right,
        )  # fmt: skip


def _certificate(stack: Stack, where: str, address: AuthAddress, tls: Mapping[str, Any]) -> Iterator[Finding]:
    unchecked = bool(tls.get("insecureSkipVerify"))
    if unchecked and not address.is_of_this_machine:
        yield Finding(
            Mistake.GATE_UNCHECKED, where,
            f"It asks {address.origin} and looks at no certificate: who gets between answers 200 for the gate.",
            ("tls:", "  ca: /path/of/the/authority.pem"),
        )  # fmt: skip
    if not unchecked and not tls.get("ca") and address in stack.asked_of_traefik:
        yield Finding(
            Mistake.GATE_UNTRUSTED, where,
            "It asks Traefik itself, by a certificate that nobody signed: every call is a 500.",
            ("tls:", "  insecureSkipVerify: true"),
        )  # fmt: skip


def _asked(where: str, asked: list[str]) -> Iterator[Finding]:
    if not asked:
        yield Finding(
            Mistake.ALL_HEADERS_ASKED, where,
            "Every header of the client reaches the gate, cookies and SCRIPT_NAME among them.", (_ASK,),
        )  # fmt: skip
        return
    names = {name.lower() for name in asked}
    if more := [name for name in asked if name.lower() not in _lower([*headers.ASKED, headers.PROTOCOLS])]:
        yield Finding(
            Mistake.MORE_HEADERS_ASKED, where, f"The gate never reads {', '.join(more)}: it only gets to know them.",
            (_ASK,),
        )  # fmt: skip
    if missing := [name for name in headers.CREDENTIALS if name.lower() not in names]:
        yield Finding(
            Mistake.KEY_NOT_ASKED, where, f"A key in {' or '.join(missing)} does not reach the gate: it answers 401.",
            (_ASK,),
        )  # fmt: skip


def _of_router(stack: Stack, router: Router) -> Iterator[Finding]:
    where = f"router {router.name}"
    chain, asked = stack.chains[router.name], stack.asked(router)
    if len(asked) > 1:
        names = " and ".join(middleware.name for middleware, _ in asked)
        yield Finding(
            Mistake.ASKED_TWICE, where, f"{names} both ask the gate, and each question counts as a call.",
            (f"middlewares: [{', '.join(_without(router, asked[1][0]))}]",),
        )  # fmt: skip
    first = asked[0][0]
    before = stack.before_the_gate(router)
    for rewrite in (middleware for middleware in before if middleware.kind in REWRITES):
        order = [name for name in router.middlewares if name != rewrite.name]
        yield Finding(
            Mistake.GATE_AFTER_REWRITE, where,
            f"{rewrite.name} changes the path before {first.name} asks: the gate judges another path.",
            (f"middlewares: [{', '.join([*order, rewrite.name])}]",),
        )  # fmt: skip
    gone = list(_removed(chain, first))
    if missing := [name for name in headers.ANSWERED if name.lower() not in gone and not _matches(first, name)]:
        yield Finding(
            Mistake.FORGEABLE_HEADER, where,
            f"A client's own {', '.join(missing)} passes {first.name} to the model.", (_RELAY,),
        )  # fmt: skip
    asked_for = _lower(first.options.get("authRequestHeaders") or [])
    kept_back = [*headers.CREDENTIALS, *([headers.PROTOCOLS] if headers.PROTOCOLS.lower() in asked_for else [])]
    if missing := [name for name in kept_back if name.lower() not in gone and not _matches(first, name)]:
        yield Finding(
            Mistake.KEY_REACHES_MODEL, where,
            f"A key in {' or '.join(missing)} passes {first.name} to the model.", (_RELAY,),
        )  # fmt: skip


def _without(router: Router, middleware: Middleware) -> list[str]:
    return [name for name in router.middlewares if name != middleware.name]


def _removed(chain: Iterable[Middleware], forward_auth: Middleware) -> Iterator[str]:
    """Headers of the client that the model does not get, in lower case."""
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
