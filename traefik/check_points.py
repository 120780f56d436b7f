"""Mistakes of entry points, and of the gate's own."""

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
    # Traefik 3.7 leaves false ones out; without the section all seven are allowed.
    allowed = [name for name in _ENCODED if encoded is None or encoded.get(f"allowEncoded{name}")]
    if allowed:
        yield Finding(
            Mistake.ENCODED_CHARACTERS, where, f"Paths may hold an encoded {', '.join(allowed)}; models decode them.",
            ("http:", "  encodedCharacters:", *(f"    allowEncoded{name}: false" for name in _ENCODED)),
        )  # fmt: skip
    if point.http.get("aliasHeadersStrategy") not in ("reject", "delete"):
        yield Finding(
            Mistake.ALIAS_HEADERS, where,
            "A client's X_Auth_Account passes, and many servers take it for X-Auth-Account.",
            ("http:", "  aliasHeadersStrategy: reject"),
        )  # fmt: skip
    if not point.http.get("sanitizePath"):
        yield Finding(
            Mistake.UNSANITIZED_PATH, where, "A path with /../ or // reaches routers as it was written.",
            ("http:", "  sanitizePath: true"),
        )  # fmt: skip


def _internal(stack: Stack, point: EntryPoint) -> Iterator[Finding]:
    where, port = f"entry point {point.name}", port_of(point.address)
    if not is_loopback(host_of(point.address)):
        yield Finding(
            Mistake.GATE_ENTRY_POINT_OPEN, where,
            f"It listens on {point.address}: whoever comes there can ask the gate, and forge what it is told.",
            (f'address: "127.0.0.1:{port}"',),
        )  # fmt: skip
    trusted = [str(text) for text in point.forwarded_headers.get("trustedIPs") or []]
    right = ("forwardedHeaders:", '  trustedIPs: ["127.0.0.1/32"]')
    if point.forwarded_headers.get("insecure") or not all(map(_is_loopback_network, trusted)):
        yield Finding(
            Mistake.GATE_ENTRY_POINT_TRUST, where, "It believes X-Forwarded-* of others than Traefik itself.", right
        )
    elif not trusted:
        yield Finding(
            Mistake.GATE_ENTRY_POINT_TRUST, where,
            "It trusts nobody, takes away what ForwardAuth wrote, and the gate refuses every request.", right,
        )  # fmt: skip
    routed = {router.takes_tls for router in stack.gate_routers(point)}
    for takes_tls in sorted({address.scheme == "https" for address in stack.addresses_at(point)} - routed):
        tls = ("  tls: {}",) if takes_tls else ()
        yield Finding(
            Mistake.GATE_UNROUTED, where,
            f"Models ask here by {'https' if takes_tls else 'http'}, and no router for that leads on to the gate.",
            ("gate:", f"  entryPoints: [{point.name}]", f'  rule: "Path(`{PATH}`)"', "  service: gate", *tls),
        )  # fmt: skip


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
        Mistake.GATE_PUBLIC, f"router {router.name}",
        f"It leads from outside to {PATH} of the gate: a stranger may try keys there without calling a model.",
        (
            "# the gate's router belongs to the internal entry point alone:",
            "entryPoints: [gate]",
            "# one process that is the console as well keeps the gate's path out:",
            f'rule: "{_narrowed(router.rule)}"',
        ),
    )  # fmt: skip


def _narrowed(rule: str) -> str:
    whole = f"({rule})" if "||" in rule else rule
    return f"{whole} && !PathPrefix(`{PATH.rstrip('/')}`)"
