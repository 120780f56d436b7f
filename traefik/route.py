"""`ModelRoute` → Traefik's configuration of a model (router, ForwardAuth, service), the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from traefik import headers
from traefik.auth_address import INTERNAL, auth_address, read_auth_address

Dynamic = dict[str, dict[str, dict[str, Any]]]  # routers, middlewares and services, by name

STREAMING = "1ms"  # `flushInterval` of a model that streams; Traefik's default is 100ms
TAKEN = (
    "gate",
    "console",
    "corporate",
    "dashboard",
    "errors",
    "unknown",
    "nobody",
)  # names of routers in our own stacks
ABOVE_THE_MODEL = 10_000  # by default priority is the rule's length, and the public rule may be the shorter one


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """How to reach a model. `before` and `after` name middlewares shared by several models."""

    name: str
    path: str
    host: str  # "" for every host
    entry_point: str = "web"
    gate_url: str = INTERNAL
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    strip_prefix: bool = False
    upload_limit: int | None = None  # bytes
    streaming: bool = False
    websocket_keys: bool = False  # must match the gates' AUTHSVC_WEBSOCKET_KEYS
    public: tuple[str, ...] = field(
        default=()
    )  # relative to `path`; one that ends in a slash includes everything below

    @property
    def key(self) -> str:
        """Its name in Traefik's configuration, where a dot ends a name and duplicate names are all dropped."""
        return f"model-{self.name}" if self.name in TAKEN else self.name.replace(".", "-dot-")

    @property
    def rule(self) -> str:
        """With a slash boundary: PathPrefix(`/m`) alone would also match /m2, /m-secret and /m;x."""
        return self._on_host([f"Path(`{self.path}`)", f"PathPrefix(`{self.path}/`)"])

    @property
    def public_rule(self) -> str:
        whole = [f"{self.path}{below}" for below in self.public]
        return self._on_host([f"PathPrefix(`{path}`)" if path.endswith("/") else f"Path(`{path}`)" for path in whole])

    def _on_host(self, paths: list[str]) -> str:
        either = " || ".join(paths)
        if not self.host:
            return either
        return f"Host(`{self.host}`) && {either if len(paths) == 1 else f'({either})'}"


def dynamic(route: ModelRoute) -> Dynamic:
    """Traefik's dynamic configuration of one model, except the address where the model listens."""
    key = route.key
    middlewares: dict[str, dict[str, Any]] = {f"ask-{key}": {"forwardAuth": _forward_auth(route)}}
    chain = [*route.before, f"ask-{key}", *route.after]
    if route.upload_limit is not None:
        # After the gate; before it, strangers' uploads would be buffered too.
        middlewares[f"limit-{key}"] = {"buffering": {"maxRequestBodyBytes": route.upload_limit}}
        chain.append(f"limit-{key}")
    if route.strip_prefix:
        # Last, because the gate must see the same path as the router.
        middlewares[f"strip-{key}"] = {"stripPrefix": {"prefixes": [route.path]}}
        chain.append(f"strip-{key}")
    routers = {key: _router(route, route.rule, chain)}
    if route.public:
        middlewares[f"keyless-{key}"] = {"headers": {"customRequestHeaders": dict.fromkeys(headers.CREDENTIALS, "")}}
        open_chain = [*route.before, f"keyless-{key}", *(name for name in chain if name == f"strip-{key}")]
        routers[f"{key}-public"] = _router(route, route.public_rule, open_chain) | {"priority": ABOVE_THE_MODEL}
    service: dict[str, Any] = {"responseForwarding": {"flushInterval": STREAMING}} if route.streaming else {}
    return {"routers": routers, "middlewares": middlewares, "services": {key: {"loadBalancer": service}}}


def _forward_auth(route: ModelRoute) -> dict[str, Any]:
    address = auth_address(route.gate_url, route.name)
    parts = read_auth_address(address)
    # Traefik's own certificate is not signed by any authority, and on loopback no one else can present one.
    protocols = [headers.PROTOCOLS] if route.websocket_keys else []
    unsigned = parts is not None and parts.scheme == "https" and parts.is_of_this_machine
    return {
        "address": address,
        **({"tls": {"insecureSkipVerify": True}} if unsigned else {}),
        "trustForwardHeader": False,
        "authRequestHeaders": [*headers.ASKED, *protocols],
        "authResponseHeaders": [*headers.RELAYED, *protocols],
        "maxResponseBodySize": headers.LONGEST_ANSWER,
    }


def _router(route: ModelRoute, rule: str, middlewares: list[str]) -> dict[str, Any]:
    return {"entryPoints": [route.entry_point], "rule": rule, "middlewares": middlewares, "service": route.key}
