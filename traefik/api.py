"""Traefik's API, parsed into values: https://doc.traefik.io/traefik/reference/install-configuration/api-dashboard/"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5
LONGEST_REPLY = 32 * 1024**2
PAGE = 100
MOST_PAGES = 1000

Json = Mapping[str, Any]


class TraefikUnreadable(Exception):
    """Traefik's API cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where Traefik's API is and how to sign in. Set `host` for an API behind a router for that host."""

    url: str
    host: str = ""
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Router:
    """An HTTP router. Names of middlewares, service and parents include the provider: `cors@file`."""

    name: str
    rule: str
    priority: int
    entry_points: tuple[str, ...]
    middlewares: tuple[str, ...]
    service: str
    parents: tuple[str, ...]
    takes_tls: bool  # a router with TLS takes only https, one without only http
    is_enabled: bool
    errors: tuple[str, ...]

    @property
    def own_name(self) -> str:
        return self.name.rpartition("@")[0]

    @property
    def provider(self) -> str:
        return self.name.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Middleware:
    """`kind` is in lower case, such as `forwardauth`; `options` are as written, without those that are false."""

    name: str
    kind: str
    options: Json


@dataclass(frozen=True, slots=True)
class Service:
    """`parts` are the services behind a weighted, mirroring or failover service."""

    name: str
    servers: tuple[str, ...]
    parts: tuple[str, ...]
    flush_interval: str


@dataclass(frozen=True, slots=True)
class EntryPoint:
    name: str
    address: str
    http: Json
    forwarded_headers: Json


@dataclass(frozen=True, slots=True)
class Configuration:
    """Traefik's configuration as its API shows it, read at about one moment."""

    version: str
    routers: tuple[Router, ...]
    middlewares: Mapping[str, Middleware]
    services: Mapping[str, Service]
    entry_points: Mapping[str, EntryPoint]

    def chain(self, router: Router) -> tuple[Middleware, ...]:
        """The router's middlewares in the order a request meets them: its parents' first, and chains expanded."""
        return tuple(self._expanded(self._named(router, frozenset()), frozenset()))

    def _named(self, router: Router, seen: frozenset[str]) -> Iterator[str]:
        if router.name in seen:
            return
        for parent in self.routers:
            if parent.name in router.parents:
                yield from self._named(parent, seen | {router.name})
        yield from router.middlewares

    def _expanded(self, names: Iterator[str], seen: frozenset[str]) -> Iterator[Middleware]:
        for name in names:
            found = self.middlewares.get(name)
            if found is None or name in seen:
                continue
            if found.kind == "chain":
                provider = name.rpartition("@")[2]
                inner = iter([_qualified(part, provider) for part in _texts(found.options.get("middlewares"))])
                yield from self._expanded(inner, seen | {name})
            else:
                yield found


def read_routers(access: Access) -> Configuration:
    """Only routers and middlewares, which is what discovery needs. Raises TraefikUnreadable."""
    return Configuration("", _routers(access), _middlewares(access), {}, {})


def read_configuration(access: Access) -> Configuration:
    """The whole configuration. Raises TraefikUnreadable."""
    version = _get(access, "/api/version")[0]
    services = {service.name: service for service in map(_service, _all(access, "/api/http/services"))}
    entry_points = {point.name: point for point in map(_entry_point, _all(access, "/api/entrypoints"))}
    words = str(version.get("Version", "")) if isinstance(version, dict) else ""
    return Configuration(words, _routers(access), _middlewares(access), services, entry_points)


def _routers(access: Access) -> tuple[Router, ...]:
    return tuple(map(_router, _all(access, "/api/http/routers")))


def _middlewares(access: Access) -> dict[str, Middleware]:
    return {found.name: found for found in map(_middleware, _all(access, "/api/http/middlewares"))}


def _router(raw: Json) -> Router:
    name = str(raw.get("name", ""))
    provider = name.rpartition("@")[2]
    return Router(
        name=name,
        rule=str(raw.get("rule", "")),
        priority=int(raw.get("priority") or 0),
        entry_points=_texts(raw.get("using") or raw.get("entryPoints")),
        middlewares=tuple(_qualified(word, provider) for word in _texts(raw.get("middlewares"))),
        service=_qualified(str(raw.get("service", "")), provider),
        parents=tuple(_qualified(word, provider) for word in _texts(raw.get("parentRefs"))),
        takes_tls=raw.get("tls") is not None,
        is_enabled=raw.get("status") != "disabled",
        errors=_texts(raw.get("error")),
    )


def _middleware(raw: Json) -> Middleware:
    kind = str(raw.get("type", "")).lower()
    options = next((value for key, value in raw.items() if key.lower() == kind and isinstance(value, dict)), {})
    return Middleware(str(raw.get("name", "")), kind, options)


def _service(raw: Json) -> Service:
    name = str(raw.get("name", ""))
    provider = name.rpartition("@")[2]
    balancer = raw.get("loadBalancer") or {}
    servers = tuple(str(server.get("url", "")) for server in balancer.get("servers") or [])
    flush = str((balancer.get("responseForwarding") or {}).get("flushInterval", ""))
    return Service(name, servers, tuple(_qualified(part, provider) for part in _parts(raw)), flush)


def _parts(raw: Json) -> Iterator[str]:
    for kind in ("weighted", "highestRandomWeight"):
        yield from (str(part.get("name", "")) for part in (raw.get(kind) or {}).get("services") or [])
    mirroring = raw.get("mirroring") or {}
    failover = raw.get("failover") or {}
    mirrors = [str(mirror.get("name", "")) for mirror in mirroring.get("mirrors") or []]
    named = [mirroring.get("service"), *mirrors, failover.get("service"), failover.get("fallback")]
    yield from (str(name) for name in named if name)


def _entry_point(raw: Json) -> EntryPoint:
    return EntryPoint(
        str(raw.get("name", "")),
        str(raw.get("address", "")),
        raw.get("http") or {},
        raw.get("forwardedHeaders") or {},
    )


def _qualified(name: str, provider: str) -> str:
    return name if "@" in name or not name else f"{name}@{provider}"


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _all(access: Access, path: str) -> list[Json]:
    """All pages of a list. X-Next-Page is 1 on the last one."""
    found: list[Json] = []
    page = 1
    for _ in range(MOST_PAGES):
        rows, headers = _get(access, f"{path}?page={page}&per_page={PAGE}")
        if not isinstance(rows, list):
            raise TraefikUnreadable(f"{access.url}{path} is not a list: is this Traefik's API?")
        found.extend(row for row in rows if isinstance(row, dict))
        following = str(headers.get("X-Next-Page", "1"))
        page = int(following) if following.isdigit() else 1
        if page <= 1:
            return found
    raise TraefikUnreadable(f"{access.url}{path} has no last page.")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Do not follow redirects, which would send the password elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


# Ignore proxies in the environment: Traefik is nearby.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def _get(access: Access, path: str) -> tuple[Any, HTTPMessage]:
    request = urllib.request.Request(f"{access.url.rstrip('/')}{path}", headers=_headers(access))  # noqa: S310 - the operator's own URL
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
            return json.loads(_read(reply, access)), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            raise TraefikUnreadable(_refusal(access, path, error)) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        what = "its answer is not JSON" if isinstance(error, json.JSONDecodeError) else str(reason) or "no answer"
        raise TraefikUnreadable(f"Traefik's API at {access.url} cannot be read: {what}.") from error


def _headers(access: Access) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if access.host:
        headers["Host"] = access.host
    if access.user:
        pair = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    return headers


def _read(reply: IO[bytes], access: Access) -> bytes:
    text = reply.read(LONGEST_REPLY + 1)
    if len(text) > LONGEST_REPLY:
        raise TraefikUnreadable(f"Traefik's API at {access.url} answers with more than {LONGEST_REPLY} bytes.")
    return text


def _refusal(access: Access, path: str, error: urllib.error.HTTPError) -> str:
    where = f"{access.url}{path.partition('?')[0]}"
    if error.code == 401:
        return f"{where} requires a password: use --traefik-user and --traefik-password-file."
    if error.code == 404:
        return (
            f"{where} does not exist: Traefik needs `api: {{}}` and a router to api@internal. If that router has a "
            "host, name it with --traefik-host."
        )
    if 300 <= error.code < 400:
        to = urlsplit(str(error.headers.get("Location", "")))
        return f"{where} redirects to {to.scheme}://{to.netloc}: use that as --traefik-url."
    return f"{where} answered {error.code}."
