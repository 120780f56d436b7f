"""Checks of routers: whether they ask the gate, for which paths, and which middlewares get in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from traefik import headers
from traefik.api import Middleware, Router
from traefik.findings import Finding, Mistake
from traefik.stack import ANY, PUBLIC, Stack

# Statuses of the gate's own refusals, which an error page would replace.
_REFUSALS = (401, 403, 429, 503)
_DEFAULT_FLUSH = 0.1  # Traefik's default flushInterval in seconds; a shorter one means streaming
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def check_routes(stack: Stack) -> Iterator[Finding]:
    for router in stack.routers:
        if not router.is_enabled and (stack.asked(router) or stack.model_at(router)):
            yield _in_error(router)
        elif stack.asked(router):
            yield from _gated(stack, router)
        elif router.is_enabled and stack.is_outside(router):
            yield from _ungated(stack, router)


def _in_error(router: Router) -> Finding:
    return Finding(
        Mistake.ROUTER_IN_ERROR,
        f"router {router.name}",
        f"Traefik does not serve it: {'; '.join(router.errors)}.",
        ("# the name of something that exists, with its provider: NAME@file, NAME@docker",),
    )


# Routers that ask the gate


def _gated(stack: Stack, router: Router) -> Iterator[Finding]:
    yield from _path(stack, router)
    yield from _errors(stack, router)
    yield from _buffering(stack, router)


def _path(stack: Stack, router: Router) -> Iterator[Finding]:
    where, rule = f"router {router.name}", stack.rule(router)
    pin = stack.pinned(router)
    model = pin or stack.model_at(router)
    path = stack.paths.get(model, "")
    if not path:
        return
    right = (f'rule: "{_right_rule(stack, router, path)}"',)
    outside = [prefix or "/" for prefix in rule.prefixes() if not f"{prefix}/".startswith(f"{path}/")]
    if pin and (outside or not stack.samples(router, path)):
        yield Finding(
            Mistake.PIN_ELSEWHERE,
            where,
            f"It asks the gate about {pin}, whose path is {path}, but matches {', '.join(outside) or 'other paths'}: "
            "the gate refuses those calls.",
            right,
        )
    elif beside := [f"{path}{end}" for end in ("2", "-x", ";x") if rule.may_match(f"{path}{end}")]:
        yield Finding(
            Mistake.NO_SLASH_BOUNDARY,
            where,
            f"Its rule also matches {', '.join(beside)}, which are not the model's paths.",
            right,
        )


def _right_rule(stack: Stack, router: Router, path: str) -> str:
    hosts = " || ".join(f"Host(`{host}`)" for host in sorted(stack.rule(router).hosts()))
    paths = f"Path(`{path}`) || PathPrefix(`{path}/`)"
    if not hosts:
        return paths
    return f"{f'({hosts})' if ' || ' in hosts else hosts} && ({paths})"


def _errors(stack: Stack, router: Router) -> Iterator[Finding]:
    where = f"router {router.name}"
    for pages in (middleware for middleware in stack.before_the_gate(router) if middleware.kind == "errors"):
        caught = [status for status in _REFUSALS if _catches(pages, status)]
        order = [*(name for name in router.middlewares if name != pages.name), pages.name]
        right = (f"middlewares: [{', '.join(order)}]",)
        if caught:
            yield Finding(
                Mistake.ERRORS_BEFORE_GATE,
                where,
                f"{pages.name} replaces the gate's {', '.join(map(str, caught))}, losing WWW-Authenticate, Retry-After "
                "and RateLimit.",
                (*right, '# and in that middleware: status: ["502", "504"]'),
            )
        named = pages.options.get("errorRequestHeaders")
        if not named or {str(name).lower() for name in named} & {name.lower() for name in headers.CREDENTIALS}:
            yield Finding(
                Mistake.KEY_REACHES_ERRORS,
                where,
                f"{pages.name} sends the client's key to the service of its error pages.",
                ("errorRequestHeaders: [Accept]",),
            )


def _catches(pages: Middleware, status: int) -> bool:
    for text in pages.options.get("status") or []:
        first, _, last = str(text).partition("-")
        if first.isdigit() and int(first) <= status <= int(last if last.isdigit() else first):
            return True
    return False


def _buffering(stack: Stack, router: Router) -> Iterator[Finding]:
    if not any(0 <= seconds < _DEFAULT_FLUSH or seconds < 0 for seconds in _flushes(stack, router)):
        return
    for middleware in stack.chains[router.name]:
        if middleware.kind == "buffering":
            order = [name for name in router.middlewares if name != middleware.name]
            yield Finding(
                Mistake.BUFFERED_STREAM,
                f"router {router.name}",
                f"{middleware.name} holds back answers until they are complete, but {router.service} streams: its "
                "flushInterval is shorter than Traefik's 100ms.",
                (f"middlewares: [{', '.join(order)}]",),
            )


def _flushes(stack: Stack, router: Router) -> Iterator[float]:
    for text in stack.flush_intervals(router.service):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
        if parts:
            yield (-1 if text.startswith("-") else 1) * sum(float(n) * _UNITS[unit] for n, unit in parts)


# Routers that do not ask the gate


def _ungated(stack: Stack, router: Router) -> Iterator[Finding]:
    if router.service.endswith("@internal"):
        yield from _open_api(stack, router)
        return
    if any(middleware.kind == "redirectscheme" for middleware in stack.chains[router.name]):
        return  # it redirects to https and leads nowhere else
    model = _model_behind(stack, router)
    if not model or _is_shadowed(stack, router, model):
        return
    path = stack.paths[model]
    if not router.own_name.endswith(PUBLIC) or stack.rule(router).may_match(f"{path}/{ANY}"):
        yield _open(stack, router, model)
        return
    yield from _public(stack, router, path)


def _open(stack: Stack, router: Router, model: str) -> Finding:
    asking = next((m.name for other in stack.gated_for.get(model, []) for m, _ in stack.asked(other)), "")
    on_purpose = " Only some paths below the model may be public." if router.own_name.endswith(PUBLIC) else ""
    return Finding(
        Mistake.UNGATED_ROUTE,
        f"router {router.name}",
        f"It leads to the model {model} and none of its middlewares asks the gate: anyone can call it.{on_purpose}",
        (
            f"middlewares: [{', '.join([*router.middlewares, asking or f'ask-{model}'])}]",
            f"# or, for paths that need no key: a router whose name ends in {PUBLIC}, with a rule for only these",
        ),
    )


def _model_behind(stack: Stack, router: Router) -> str:
    """The model that a router leads to, judged by its service, else by its paths."""
    for target in sorted(stack.leads_to(router)):
        if target in stack.model_behind:
            return stack.model_behind[target]
    model = stack.model_at(router)
    gated = stack.gated_for.get(model, [])
    return model if not gated or any(_share_a_host(stack, router, other) for other in gated) else ""


def _share_a_host(stack: Stack, one: Router, other: Router) -> bool:
    first, second = stack.rule(one).hosts(), stack.rule(other).hosts()
    return not first or not second or bool(first & second)


def _is_shadowed(stack: Stack, router: Router, model: str) -> bool:
    """Do the model's gated routers take every request before this one sees it?"""
    samples = stack.samples(router, stack.paths[model])
    hosts, points = stack.rule(router).hosts(), {point.name for point in stack.points(router)}
    above = [
        other
        for other in stack.gated_for.get(model, [])
        if other.is_enabled
        and other.priority > router.priority
        and points <= {point.name for point in stack.points(other)}
        and (not stack.rule(other).hosts() or (hosts and hosts <= stack.rule(other).hosts()))
    ]
    return bool(samples) and all(any(stack.rule(other).may_match(sample) for other in above) for sample in samples)


def _public(stack: Stack, router: Router, path: str) -> Iterator[Finding]:
    named = [name for m in stack.chains[router.name] if m.kind == "headers" for name in _set(m.options)]
    missing = [name for name in headers.CREDENTIALS if name.lower() not in named]
    if missing:
        yield Finding(
            Mistake.KEY_REACHES_MODEL,
            f"router {router.name}",
            f"Clients also send their key to public paths, and a key in {' or '.join(missing)} reaches the model.",
            ("headers:", "  customRequestHeaders:", *(f'    {name}: ""' for name in headers.CREDENTIALS)),
        )


def _set(options: Mapping[str, object]) -> set[str]:
    found = options.get("customRequestHeaders")
    return {str(name).lower() for name in found} if isinstance(found, Mapping) else set()


def check_shadowed(stack: Stack) -> Iterator[Finding]:
    """Public routers that get no requests because the model's own router comes first."""
    for router in stack.routers:
        model = _model_behind(stack, router) if router.own_name.endswith(PUBLIC) and not stack.asked(router) else ""
        if model and router.is_enabled and _is_shadowed(stack, router, model):
            above = max(other.priority for other in stack.gated)
            yield Finding(
                Mistake.PUBLIC_ROUTE_SHADOWED,
                f"router {router.name}",
                f"The router of {model} has a higher priority and takes its requests, which then need a key.",
                (f"priority: {max(10_000, above + 1)}",),
            )


def _open_api(stack: Stack, router: Router) -> Iterator[Finding]:
    locks = ("basicauth", "digestauth", "forwardauth", "ipallowlist")
    is_locked = any(middleware.kind in locks for middleware in stack.chains[router.name])
    if router.service in ("api@internal", "dashboard@internal", "rest@internal") and not is_locked:
        yield Finding(
            Mistake.OPEN_API,
            f"router {router.name}",
            "Traefik's API exposes its whole configuration without authentication.",
            ("middlewares: [dashboard-password]", "# a basicAuth with usersFile, or an entry point on 127.0.0.1"),
        )
