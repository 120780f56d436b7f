"""Traefik's configuration beside the catalogue: which model a router serves, and which addresses are the gate's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from traefik.api import Configuration, EntryPoint, Middleware, Router
from traefik.auth_address import PATH, AuthAddress, is_loopback, origin_of
from traefik.discovery import find_models, forward_auths
from traefik.rule import RouterRule, read_rule

# Middlewares that change the path seen by the gate and the model.
REWRITES = ("stripprefix", "stripprefixregex", "replacepath", "replacepathregex", "addprefix")
PUBLIC = "-public"  # suffix of routers whose paths deliberately need no key
ANY = "~authsvc-any"  # a path segment that no rule was written for


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    path: str
    is_enabled: bool


@dataclass(frozen=True)
class Stack:
    """A Traefik and a catalogue."""

    configuration: Configuration
    catalogue: Mapping[str, CatalogueModel]
    gate_url: str = ""

    @cached_property
    def routers(self) -> tuple[Router, ...]:
        """The operators' routers, without those that Traefik creates itself."""
        return tuple(router for router in self.configuration.routers if router.provider != "internal")

    @cached_property
    def chains(self) -> Mapping[str, tuple[Middleware, ...]]:
        return {router.name: self.configuration.chain(router) for router in self.configuration.routers}

    @cached_property
    def gated(self) -> tuple[Router, ...]:
        """Routers that ask the gate."""
        return tuple(router for router in self.routers if self.asked(router))

    def asked(self, router: Router) -> list[tuple[Middleware, AuthAddress]]:
        """The router's ForwardAuths that ask the gate, in order."""
        return self._asked[router.name]

    @cached_property
    def _asked(self) -> Mapping[str, list[tuple[Middleware, AuthAddress]]]:
        return {name: list(forward_auths(chain, self.gate_url)) for name, chain in self.chains.items()}

    @cached_property
    def gated_for(self) -> Mapping[str, list[Router]]:
        """The routers that ask the gate about each model."""
        found: dict[str, list[Router]] = {}
        for router in self.gated:
            found.setdefault(self.pinned(router) or self.model_at(router), []).append(router)
        return found

    @cached_property
    def model_behind(self) -> Mapping[str, str]:
        """The model behind each service and server that gated routers lead to."""
        found: dict[str, str] = {}
        for model, routers in self.gated_for.items():
            for router in routers if model in self.paths else ():
                for target in self.leads_to(router):
                    found.setdefault(target, model)
        return found

    def before_the_gate(self, router: Router) -> tuple[Middleware, ...]:
        """The middlewares that a request meets before the gate is asked."""
        chain = self.chains[router.name]
        asked = self.asked(router)
        return chain[: chain.index(asked[0][0])] if asked else chain

    def rule(self, router: Router) -> RouterRule:
        """The router's own rule. Its parents' rules, if any, only narrow it."""
        return read_rule(router.rule)

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """The path of each model: from the catalogue, else from its routers' rules."""
        found = {model.slug: model.path for model in find_models(self.configuration, self.gate_url) if model.path}
        return found | {slug: model.path for slug, model in self.catalogue.items()}

    def pinned(self, router: Router) -> str:
        """The model that the router pins, or ""."""
        return next((address.pin or "" for _, address in self.asked(router)), "")

    def model_at(self, router: Router) -> str:
        """The model whose path covers the router's; "" for a router that is not for a single model."""
        if router.name not in self._models_at:
            self._models_at[router.name] = self._find_model(self.rule(router))
        return self._models_at[router.name]

    def _find_model(self, rule: RouterRule) -> str:
        if rule.root is None or rule.may_match(f"/{ANY}") or rule.may_match(f"/{ANY}/{ANY}"):
            return ""  # it matches everything
        named = [f"{prefix}/" for prefix in rule.prefixes()]
        for slug, path in self.paths.items():
            if any(prefix.startswith(f"{path}/") for prefix in named):
                return slug
        return next(
            (slug for slug, path in self.paths.items() if rule.may_match(path) or rule.may_match(f"{path}/{ANY}")), ""
        )

    @cached_property
    def _models_at(self) -> dict[str, str]:
        return {}

    def samples(self, router: Router, path: str) -> list[str]:
        """Sample paths, at and below a model's path, that the router's rule may match."""
        named = [prefix for prefix in self.rule(router).prefixes() if f"{prefix}/".startswith(f"{path}/")]
        tried = [path, f"{path}/", f"{path}/{ANY}", *named, *(f"{prefix}/{ANY}" for prefix in named)]
        return [sample for sample in tried if self.rule(router).may_match(sample)]

    # Services

    def servers(self, service: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
        """The servers behind a service, including those of the services it is made of."""
        found = self.configuration.services.get(service)
        if found is None or service in seen:
            return frozenset()
        own = frozenset(origin for url in found.servers if (origin := origin_of(url)))
        return own.union(*(self.servers(part, seen | {service}) for part in found.parts))

    def leads_to(self, router: Router) -> frozenset[str]:
        """The service's name and its servers, because several services may share servers."""
        return self.servers(router.service) | ({router.service} if router.service else frozenset())

    def flush_intervals(self, service: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        found = self.configuration.services.get(service)
        if found is not None and service not in seen:
            yield found.flush_interval
            for part in found.parts:
                yield from self.flush_intervals(part, seen | {service})

    # Entry points

    def points(self, router: Router) -> list[EntryPoint]:
        """The router's entry points; a child router has those of its parents."""
        names = router.entry_points or tuple(
            name for parent in self.routers if parent.name in router.parents for name in parent.entry_points
        )
        return [self.configuration.entry_points[name] for name in names if name in self.configuration.entry_points]

    @cached_property
    def client_points(self) -> tuple[EntryPoint, ...]:
        """The entry points for clients: those of gated routers."""
        used = {point.name: point for router in self.gated for point in self.points(router)}
        return tuple(used.values())

    def is_outside(self, router: Router) -> bool:
        """Can it be reached from other machines, or by clients?"""
        inner = {point.name for point in self.gate_points}
        return any(
            point.name not in inner and (point in self.client_points or not is_loopback(host_of(point.address)))
            for point in self.points(router)
        )

    # The gate

    @cached_property
    def auth_addresses(self) -> frozenset[AuthAddress]:
        return frozenset(address for router in self.gated for _, address in self.asked(router))

    @cached_property
    def gate_points(self) -> tuple[EntryPoint, ...]:
        """Traefik's internal entry points to the gate, which ForwardAuths call at Traefik's own address."""
        return tuple(point for point in self.configuration.entry_points.values() if self.addresses_at(point))

    def addresses_at(self, point: EntryPoint) -> list[AuthAddress]:
        """The addresses at this entry point that Traefik itself calls."""
        port = port_of(point.address)
        asked = (address for address in self.auth_addresses if address.is_of_this_machine)
        return [address for address in asked if str(urlsplit(address.origin).port) == port]

    @cached_property
    def asked_of_traefik(self) -> frozenset[AuthAddress]:
        """The addresses that lead to an internal entry point, not to a gate directly."""
        return frozenset(address for point in self.gate_points for address in self.addresses_at(point))

    def gate_routers(self, point: EntryPoint) -> list[Router]:
        """The routers of an internal entry point that lead to the gate, not to the page shown while it is down."""
        return [
            router
            for router in self.routers
            if router.is_enabled
            and point in self.points(router)
            and self.rule(router).may_match(PATH)
            and not any(middleware.kind in REWRITES for middleware in self.chains[router.name])
        ]

    @cached_property
    def gate_servers(self) -> frozenset[str]:
        """The gate's addresses, as far as Traefik knows them."""
        inner = {router.service: self.leads_to(router) for p in self.gate_points for router in self.gate_routers(p)}
        asked = frozenset(address.origin for address in self.auth_addresses - self.asked_of_traefik)
        return asked.union(*inner.values())


def host_of(address: str) -> str:
    """The host of an entry point's address; empty if it is every address of the machine, as in `:80`."""
    return address.partition("/")[0].rpartition(":")[0]


def port_of(address: str) -> str:
    return address.partition("/")[0].rpartition(":")[2]
