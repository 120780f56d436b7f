"""Checks of entry points: those for clients, and the internal one to the gate."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from traefik.api import EntryPoint, Router
from traefik.auth_address import PATH, is_loopback
from traefik.findings import Finding, Mistake
from traefik.stack import Stack, host_of, port_of

_ENCODED = ("Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash")


def check_points(stack: Stack) -> Iterator[Finding]:
    for point in stack.client_points:
        yield from _hardened(point)
    for point in stack.gate_points:
        yield from _internal(stack, point)
    for router in stack.routers:
        if router.is_enabled and _reaches_the_gate(stack, router):
            yield _gate_public(router)


def _hardened(point: EntryPoint) -> Iterator[Finding]:
    where = f"entry point {point.name}"
    encoded = point.http.get("encodedCharacters")
    # Traefik 3.7 omits options that are false; without the section all seven are allowed.
    allowed = [name for name in _ENCODED if encoded is None or encoded.get(f"allowEncoded{name}")]
    if allowed:
        yield Finding(
            Mistake.ENCODED_CHARACTERS,
            where,
            f"Paths may contain an encoded {', '.join(allowed)}, which models decode.",
            ("http:", "  encodedCharacters:", *(f"    allowEncoded{name}: false" for name in _ENCODED)),
        )
    if point.http.get("aliasHeadersStrategy") not in ("reject", "delete"):
        yield Finding(
            Mistake.ALIAS_HEADERS,
            where,
            "A client's X_Auth_Account gets through, and many servers read it as X-Auth-Account.",
            ("http:", "  aliasHeadersStrategy: reject"),
        )
    if not point.http.get("sanitizePath"):
        yield Finding(
            Mistake.UNSANITIZED_PATH,
            where,
            "Routers see paths with /../ or // unchanged.",
            ("http:", "  sanitizePath: true"),
        )


def _internal(stack: Stack, point: EntryPoint) -> Iterator[Finding]:
    where, port = f"entry point {point.name}", port_of(point.address)
    if not is_loopback(host_of(point.address)):
        yield Finding(
            Mistake.GATE_ENTRY_POINT_OPEN,
            where,
            f"It listens on {point.address}: anyone who can reach it can ask the gate, with forged headers.",
            (f'address: "127.0.0.1:{port}"',),
        )
    trusted = [str(text) for text in point.forwarded_headers.get("trustedIPs") or []]
    right = ("forwardedHeaders:", '  trustedIPs: ["127.0.0.1/32"]')
    if point.forwarded_headers.get("insecure") or not all(map(_is_loopback_network, trusted)):
        yield Finding(
            Mistake.GATE_ENTRY_POINT_TRUST,
            where,
            "It trusts X-Forwarded-* from senders other than Traefik itself.",
            right,
        )
    elif not trusted:
        yield Finding(
            Mistake.GATE_ENTRY_POINT_TRUST,
            where,
            "It trusts no sender and so removes the headers ForwardAuth sets: the gate refuses every request.",
            right,
        )
    routed = {router.takes_tls for router in stack.gate_routers(point)}
    for takes_tls in sorted({address.scheme == "https" for address in stack.addresses_at(point)} - routed):
        tls = ("  tls: {}",) if takes_tls else ()
        yield Finding(
            Mistake.GATE_UNROUTED,
            where,
            f"ForwardAuths call it by {'https' if takes_tls else 'http'}, and no router for that leads to the gate.",
            ("gate:", f"  entryPoints: [{point.name}]", f'  rule: "Path(`{PATH}`)"', "  service: gate", *tls),
        )


def _is_loopback_network(text: str) -> bool:
    try:
        return ip_network(text, strict=False).is_loopback
    except ValueError:
        return False


def _reaches_the_gate(stack: Stack, router: Router) -> bool:
    leads = stack.leads_to(router) & stack.gate_servers
    return bool(leads) and stack.is_outside(router) and stack.rule(router).may_match(PATH)


def _gate_public(router: Router) -> Finding:
    return Finding(
        Mistake.GATE_PUBLIC,
        f"router {router.name}",
        f"It exposes the gate's {PATH} to the outside: strangers can try keys there without calling a model.",
        (
            "# the gate's router belongs on the internal entry point only:",
            "entryPoints: [gate]",
            "# if one process is gate and console, exclude the gate's path:",
            f'rule: "{_narrowed(router.rule)}"',
        ),
    )


def _narrowed(rule: str) -> str:
    whole = f"({rule})" if "||" in rule else rule
    return f"{whole} && !PathPrefix(`{PATH.rstrip('/')}`)"
