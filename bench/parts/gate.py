"""Parts that ask the gate directly: an empty answer, forged keys, cold keys, the obvious way, oauth2-proxy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from accounts.keys import Pepper, new_account_id, new_key, new_key_id
from bench import wrk
from bench.contest import Contest, Goal, Scale, Yielded
from bench.servers.empty import empty_answers
from bench.servers.gate import TARGET, WITH_KEY, RunningGate, filled_stores, started_gate
from bench.servers.oauth2_proxy import oauth2_proxy
from bench.servers.obvious import obvious_way
from bench.turns import WARM_SECONDS, Server

CONNECTIONS = 64
GATE = "the gate"
COLD_KEYS = 20_000  # many times what a cache of 1 MB holds
COLD_CONNECTIONS = 2  # the database has four threads, and a look-up 200 ms, on a busy machine too


def asking(  # one subject: the gate, with these keys
    gate: RunningGate,
    keys: Sequence[str],
    name: str = GATE,
    *,
    connections: int = CONNECTIONS,
    is_refused: bool = False,
    before_each: Callable[[], None] = lambda: None,
    warm_seconds: float = WARM_SECONDS,
) -> Server:
    path = gate.stores.directory / f"{name.replace(' ', '-')}.lua"
    script = wrk.write_script(path, target=TARGET, headers=WITH_KEY, keys=keys)
    load = wrk.Load(script, gate.port, connections, is_refused)
    return Server(name, load, gate.processes, before_each, warm_seconds)


def against_an_empty_answer(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    gate = _gate(stack, directory)
    port, pid = stack.enter_context(empty_answers(directory))
    script = wrk.write_script(directory / "empty.lua", target=TARGET, headers=WITH_KEY, keys=gate.stores.keys)
    empty = Server("an empty answer", wrk.Load(script, port, CONNECTIONS), {"server": pid})
    goal = Goal("CPU of gate and Redis against an empty ASGI answer", GATE, "cpu", 2.2)
    yield Contest("The gate against an empty answer", [empty, asking(gate, gate.stores.keys)], [goal])


def forged_keys(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    gate = _gate(stack, directory)
    minted = [new_key(new_key_id(new_account_id()), "ask", Pepper.of("not ours")).text for _ in range(20)]
    subjects = [
        asking(gate, gate.stores.keys, "allowed keys"),
        asking(gate, minted, "forged keys", is_refused=True),
        asking(gate, [f"{text[:-1]}-" for text in minted], "malformed keys", is_refused=True),
    ]
    goals = [
        Goal(f"CPU of {name} against allowed ones", name, "cpu", 0.5) for name in ("forged keys", "malformed keys")
    ]
    yield Contest("Keys that nobody issued", subjects, goals)


def cold_keys(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    """Facts from this process, from Redis, and from the database."""
    count = scale.keys(COLD_KEYS)
    gate, forgetful, forgotten = (
        _cold_gate(stack, directory / name, count, cache)
        for name, cache in (("held", 64), ("in-redis", 1), ("in-database", 1))
    )
    subjects = [
        asking(gate, gate.stores.keys[:20], "held by the process", connections=COLD_CONNECTIONS),
        asking(forgetful, _shuffled(forgetful), "out of Redis", connections=COLD_CONNECTIONS),
        asking(
            forgotten,
            _shuffled(forgotten),
            "out of the database",
            connections=COLD_CONNECTIONS,
            before_each=lambda: _empty_redis(forgotten),
        ),
    ]
    yield Contest(f"Cold keys, {COLD_CONNECTIONS} connections", subjects)


def _cold_gate(stack: ExitStack, directory: Path, count: int, cache: int) -> RunningGate:
    stores = stack.enter_context(filled_stores(directory, accounts=max(count // 10, 1), keys=count))
    return stack.enter_context(started_gate(stores, AUTHSVC_CACHE_MB=str(cache)))


def _shuffled(gate: RunningGate) -> list[str]:
    return random.Random(1).sample(gate.stores.keys, len(gate.stores.keys))


def _empty_redis(gate: RunningGate) -> None:
    """As after a loss of its data, except that it still knows whose it is."""
    with gate.stores.client as client:
        whose = "{authsvc}:deployment"
        identity = client.get(whose)
        client.flushall()
        if identity is not None:
            client.set(whose, identity)


def against_the_obvious_way(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    gate = _gate(stack, directory)
    obvious = stack.enter_context(obvious_way(directory / "obvious"))
    headers = WITH_KEY | {"Authorization": "Token KEY"}
    script = wrk.write_script(directory / "obvious.lua", target=TARGET, headers=headers, keys=obvious.tokens)
    other = Server("Django REST framework", wrk.Load(script, obvious.port, CONNECTIONS), obvious.processes)
    goal = Goal("CPU of the obvious way against the gate", other.name, "cpu", 80, at_least=True)
    yield Contest("The obvious way", [asking(gate, gate.stores.keys), other], [goal])


def against_oauth2_proxy(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    gate = _gate(stack, directory)
    port, pid, sent = stack.enter_context(oauth2_proxy(directory / "oauth2-proxy"))
    headers = WITH_KEY | {"Authorization": "Basic KEY"}
    script = wrk.write_script(directory / "oauth2.lua", target="/oauth2/auth", headers=headers, keys=sent)
    other = Server("oauth2-proxy", wrk.Load(script, port, CONNECTIONS), {"server": pid})
    goal = Goal("CPU of gate and Redis against oauth2-proxy's check of a password", GATE, "cpu", 1.1)
    yield Contest("oauth2-proxy", [other, asking(gate, gate.stores.keys)], [goal])


def without_counting(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    """The effect is smaller than the noise of one turn: many short ones tell more than a few long ones."""
    gate = _gate(stack, directory)
    uncounted = stack.enter_context(started_gate(gate.stores, "bench.servers.uncounted:application"))
    goal = Goal("CPU of a gate that counts for /metrics against one that does not", GATE, "cpu", 1.03)
    subjects = [asking(uncounted, gate.stores.keys, "without counting"), asking(gate, gate.stores.keys)]
    yield Contest("Counting for /metrics", subjects, [goal])


def _gate(stack: ExitStack, directory: Path) -> RunningGate:
    return stack.enter_context(started_gate(stack.enter_context(filled_stores(directory / "gate"))))
