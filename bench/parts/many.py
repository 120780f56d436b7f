"""Parts with many keys: a million against a thousand, importing them, and publishing them again."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from bench.contest import Contest, Goal, Scale, Target, Yielded
from bench.parts.gate import asking
from bench.processes import resident_bytes
from bench.servers.gate import RunningGate, Stores, filled_stores, run_python, started_gate
from bench.turns import Work

FEW, MANY = 1_000, 1_000_000
KEYS_OF_AN_ACCOUNT = 10
ZIPF = 1.1  # the exponent: a few keys get most of the calls, as in life
ASKED = 500_000  # the length of the sequence of keys; it starts again after that
WARM_SECONDS = 30  # until a process holds as many keys as its cache takes
CACHE_MB = 128  # as docs/reference/configuration.md advises for so many keys: a process then takes less than 250 MB
CONNECTIONS = 16  # most keys have to be fetched from Redis first, within the deadline of a decision
IMPORTED_AT_A_TIME = 10_000
PUBLISHED_AT_A_TIME = 50_000


def a_million_keys(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    few, many = (
        _with_keys(stack, directory / name, scale.keys(count)) for name, count in (("few", FEW), ("many", MANY))
    )
    bytes_of_a_key = _bytes_of_a_key(stack, directory / "none", many.stores)  # before there is usage
    yield Target("Redis for each key, with its share of an account", bytes_of_a_key, 700, "bytes")
    for step, seconds in many.stores.filled.items():
        print(f"  {step} of {len(many.stores.keys):,} keys: {seconds:,.0f} s", file=sys.stderr, flush=True)
    subjects = [
        asking(
            gate,
            _as_in_life(gate.stores.keys),
            f"{len(gate.stores.keys):,} keys",
            connections=CONNECTIONS,
            warm_seconds=max(WARM_SECONDS / scale.divisor, 1),
        )
        for gate in (few, many)
    ]
    goal = Goal("CPU with many keys against few", subjects[1].name, "cpu", 1.25)
    yield Contest(f"Many keys, asked by Zipf's law with exponent {ZIPF}", subjects, [goal])
    yield Target("memory of a gate process after that", resident_bytes(many.worker) / 1e6, 250, "MB")


def publishing_again(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    stores = _filled(stack, directory / "gate", scale.keys(PUBLISHED_AT_A_TIME))

    def publish() -> dict[str, float]:
        with stores.client as client:
            client.flushall()
        return run_python("bench.bulk", ["publish"], stores.environment)

    work = Work("publishing everything", publish, {"redis": stores.redis_pid})
    goal = Goal("publishing into an empty Redis, parts", work.name, "pace", 10_000, at_least=True, is_pace=True)
    yield Contest(f"Publishing {len(stores.keys):,} keys again", [work], [goal])


def importing(stack: ExitStack, directory: Path, scale: Scale) -> Iterator[Yielded]:
    stores = stack.enter_context(filled_stores(directory / "gate", accounts=scale.keys(1000), keys=20))
    count = scale.keys(IMPORTED_AT_A_TIME)
    files = iter(range(10**6))

    def bring_in() -> dict[str, float]:
        file = _written(directory, next(files), count, scale.keys(1000))
        return run_python("bench.bulk", ["import", str(file)], stores.environment)

    work = Work("import_keys", bring_in, {"redis": stores.redis_pid})
    goal = Goal("importing keys", work.name, "pace", 5_000, at_least=True, is_pace=True)
    yield Contest(f"Importing {count:,} keys at a time", [work], [goal])


def _with_keys(stack: ExitStack, directory: Path, count: int) -> RunningGate:
    return stack.enter_context(started_gate(_filled(stack, directory, count), AUTHSVC_CACHE_MB=str(CACHE_MB)))


def _filled(stack: ExitStack, directory: Path, count: int) -> Stores:
    accounts = max(count // KEYS_OF_AN_ACCOUNT, 1)
    return stack.enter_context(filled_stores(directory, accounts=accounts, keys=count))


def _as_in_life(keys: Sequence[str]) -> list[str]:
    """The keys in the order in which they are asked: the one of rank r in 1 of r ** ZIPF calls."""
    chance = random.Random(1)
    shuffled = chance.sample(keys, len(keys))
    weights = list(accumulate(rank**-ZIPF for rank in range(1, len(keys) + 1)))
    return chance.choices(shuffled, cum_weights=weights, k=min(ASKED, 20 * len(keys)))


def _bytes_of_a_key(stack: ExitStack, directory: Path, stores: Stores) -> float:
    """Beyond what a deployment without keys takes, which is mostly the catalogue's version in each partition."""
    without = stack.enter_context(filled_stores(directory, accounts=0, keys=0))
    return (_used(stores) - _used(without)) / len(stores.keys)


def _used(stores: Stores) -> int:
    with stores.client as client:
        return int(client.info("memory")["used_memory"])


def _written(directory: Path, number: int, count: int, accounts: int) -> Path:
    """Keys of another system, by their SHA-256; those of an account stand together, as in an export."""
    file = directory / f"{number}.csv"
    lines = ["external_id,name,sha256,start\n"]
    for one in range(count):
        digest = hashlib.sha256(f"{number} {one}".encode()).hexdigest()
        lines.append(f"bench-{one * accounts // count},key {one},{digest},sk-{number}\n")
    file.write_text("".join(lines), encoding="ascii")
    return file
