"""Parts through a real Traefik: the gate against nginx in its place, and against Traefik's own rate limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench import wrk
from bench.contest import Contest, Goal, Scale, Yielded
from bench.servers.gate import RunningGate, bare_redis, filled_stores, started_gate
from bench.servers.nginx import answering
from bench.servers.traefik import PATH, Front, RunningTraefik, fronts
from bench.turns import Server

CONNECTIONS = (1, 16, 64)
WAYS = {"straight": False, "by the internal entry point": True}
NOTHING, GATE = "nginx 204", "the gate"
GOALS = {
    ("straight", 1): Goal("p50 through Traefik against nginx 204, straight, 1 connection", GATE, "p50", 1.6),
    ("by the internal entry point", 16): Goal(
        "requests/s through Traefik against nginx 204, internal entry point, 16 connections",
        GATE, "pace", 0.7, at_least=True,
    ),
}  # fmt: skip
LIMIT = {"average": 1_000_000, "burst": 1_000_000, "sourceCriterion": {"requestHeaderName": "Authorization"}}


def in_the_gates_place(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    gate, model = _gate_and_model(stack, directory)
    nothing, nothing_pid = stack.enter_context(answering(directory / "nothing", "204"))
    asked = {NOTHING: nothing, GATE: gate.port}
    processes: dict[str, Mapping[str, int]] = {NOTHING: {"server": nothing_pid}, GATE: gate.processes}
    traefik = stack.enter_context(
        fronts(
            directory / "traefik",
            model,
            {
                f"{_slug(name)}-{_slug(way)}": Front(asks=port, is_internal=is_internal)
                for name, port in asked.items()
                for way, is_internal in WAYS.items()
            },
        )
    )
    for way in WAYS:
        for connections in CONNECTIONS:
            subjects = [
                _through(traefik, f"{_slug(name)}-{_slug(way)}", name, gate, connections, processes[name])
                for name in asked
            ]
            goal = GOALS.get((way, connections))
            title = f"Through Traefik, {way}, {connections} connection{'s' if connections > 1 else ''}"
            yield Contest(title, subjects, [goal] if goal else [])


def traefiks_own_limit(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    gate, model = _gate_and_model(stack, directory)
    redis_port, redis_pid = stack.enter_context(bare_redis(directory / "redis"))
    limit = {"rateLimit": LIMIT | {"redis": {"endpoints": [f"127.0.0.1:{redis_port}"]}}}
    ways = {
        "bare": Front(),
        "limited": Front(middleware=limit),
        "gated": Front(asks=gate.port, is_internal=True),
    }
    traefik = stack.enter_context(fronts(directory / "traefik", model, ways))
    subjects = [
        _through(traefik, "bare", "Traefik alone", gate, 64, {}),
        _through(traefik, "limited", "Traefik's own rateLimit on Redis", gate, 64, {"redis": redis_pid}),
        _through(traefik, "gated", "Traefik asking the gate", gate, 64, gate.processes),
    ]
    yield Contest("Traefik's own rate limit, 64 connections", subjects)


def _gate_and_model(stack: ExitStack, directory: Path) -> tuple[RunningGate, int]:
    gate = stack.enter_context(started_gate(stack.enter_context(filled_stores(directory / "gate"))))
    port, _ = stack.enter_context(answering(directory / "model", "200 '{}'"))
    return gate, port


def _through(
    traefik: RunningTraefik,
    front: str,
    name: str,
    gate: RunningGate,
    connections: int,
    others: Mapping[str, int],
) -> Server:
    """The model's own CPU time is left out: it is the same for all."""
    script = wrk.write_script(
        gate.stores.directory / f"{front}-{connections}.lua",
        target=PATH,
        headers={"Authorization": "Bearer KEY"},
        keys=gate.stores.keys,
    )
    return Server(name, wrk.Load(script, traefik.ports[front], connections), {**others, "traefik": traefik.pid})


def _slug(text: str) -> str:
    return text.replace(" ", "-")
