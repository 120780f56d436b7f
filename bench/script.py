"""The script alone: microseconds that Redis takes to run take.lua, of this checkout and another, by turns on one Redis.

    python -m bench.script                    this checkout's
    python -m bench.script --against TREE     that of the checkout at TREE as well

Redis measures its commands by the clock, so whatever else runs on the machine counts too. Rounds are therefore short
and many: those of the fastest tenth were hardly interrupted. Compare only what one run printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import redis

from tests.servers import ROOT, redis_server

ROUNDS, CALLS, AT_ONCE = 150, 400, 50
RUN_SECONDS = 60

# Runs in each checkout: what it would send. Keys and limits are the same everywhere, arguments and script are its own.
COMMANDS = """
import json, time
from django.conf import settings
settings.configure(REDIS_PREFIX="")
from quotas.buckets import TAKE, Charge, Versions
from quotas.limits import Limit
from store import names
key, account = "AAAAAAAAkkkkkkkk", "AAAAAAAA"
second = Limit(name="second", scope="key", amount=10**6, window="second")
minute = Limit(name="minute", scope="account", amount=10**6, window="minute")
month = Limit(name="month", scope="account", amount=10**9, window="month", unit="units")
day = Limit(name="day", scope="key", amount=10**9, window="day")
hour = Limit(name="hour", scope="key", amount=1, window="hour")
tokens = Limit(name="tokens", scope="key", amount=10**9, window="hour", unit="units")
kinds = {
    "one smoothed limit": ("take", minute),
    "three limits": ("take", second, minute, month),
    "four limits": ("take", second, minute, day, month),
    "three limits, one of a billion": ("take", tokens, minute, month),
    "refused by one of three": ("take", hour, minute, month),
    "refused by a rule": ("revoked_key",),
}
def command(mode, *limits):
    return Charge(key, "sm", 1, limits, Versions(1, 1, 1), 9).packed(mode, int(time.time()) // 3600, "203.0.113.7")
print(json.dumps({
    "source": TAKE.source,
    "account": names.account(account),
    "fields": {name: "1" for kind in ("v", "l") for name in (names.field(kind), names.field(kind, key))},
    "catalogue": names.catalogue_version("AA"),
    "commands": {name: command(*kind).decode("latin-1") for name, kind in kinds.items()},
}))
"""

Send = Callable[[bytes, int], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """A checkout's script, and the calls that its gate would make."""

    name: str
    source: str
    account: str
    fields: Mapping[str, str]
    catalogue: str
    commands: Mapping[str, bytes]


def subject_of(tree: Path, name: str) -> Subject:
    run = subprocess.run(
        [sys.executable, "-c", COMMANDS], cwd=tree, check=True, stdout=subprocess.PIPE, timeout=RUN_SECONDS
    )
    found = json.loads(run.stdout)
    found["commands"] = {kind: text.encode("latin-1") for kind, text in found["commands"].items()}
    return Subject(name, **found)


def measure(subjects: list[Subject], rounds: int) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """For each kind of call, the microseconds a run in each round of each subject."""
    with _redis() as (client, send):
        for kind in subjects[0].commands:
            client.flushall()
            for subject in subjects:
                client.script_load(subject.source)
                for field, value in subject.fields.items():
                    client.hset(subject.account, field, value)
                client.set(subject.catalogue, 1)
            taken = defaultdict(list)
            for number in range(rounds):
                for subject in subjects[:: -1 if number % 2 else 1]:
                    send(subject.commands[kind], AT_ONCE)
                    client.config_resetstat()
                    send(subject.commands[kind], CALLS)
                    taken[subject.name].append(float(client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]))
            yield kind, taken


@contextmanager
def _redis() -> Iterator[tuple[redis.Redis, Send]]:
    """A client, and a way to send a packed command many times with little effort."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(Path(folder)) as socket,
        redis.Redis(unix_socket_path=str(socket), socket_timeout=RUN_SECONDS) as client,
    ):
        connection = client.connection_pool.get_connection()

        def send(command: bytes, calls: int) -> None:
            for _ in range(calls // AT_ONCE):
                connection.send_packed_command([command * AT_ONCE])
                for _ in range(AT_ONCE):
                    reply = connection.read_response()
                    if reply[0] not in (0, 1):
                        raise SystemExit(f"the script answered {reply}; has a new hour begun?")

        yield client, send


def table(kind: str, taken: Mapping[str, list[float]]) -> str:
    lines = [f"{kind:<32} {'best':>7} {'tenth':>7} {'median':>7}"]
    for name, rounds in taken.items():
        ordered = sorted(rounds)
        figures = ordered[0], ordered[len(ordered) // 10], median(ordered)
        lines.append(f"  {name:<30} " + " ".join(f"{figure:>7.2f}" for figure in figures))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.script", description="Measure take.lua alone.")
    parser.add_argument("--against", metavar="TREE", type=Path, help="another checkout, to be measured by turns")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of {CALLS} calls ({ROUNDS})")
    options = parser.parse_args()
    subjects = [subject_of(ROOT, "this checkout")]
    if options.against:
        subjects.insert(0, subject_of(options.against.resolve(), str(options.against)))
    print(f"microseconds a run; {options.rounds} rounds of {CALLS} calls each")
    for kind, taken in measure(subjects, options.rounds):
        print(table(kind, taken), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
