"""The CPU time of one answer, by turns: a gate with its Redis against an empty answer, or against another checkout.

    python -m bench.cpu                    this gate, and an empty answer of the stock uvicorn worker
    python -m bench.cpu --against TREE     the gate of the checkout at TREE as well
    python -m bench.cpu --load forged      with keys that nobody minted
    python -m bench.cpu --json FILE        leave the figures in a file

CPU time is what a process was charged by the kernel (/proc/PID/stat), divided by the answers it gave meanwhile. Unlike
requests per second it hardly depends on what else runs on the machine. What else runs does change the caches and the
clock, so the subjects take turns, and only ratios within a run are comparable. Needs Linux and wrk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from time import perf_counter

from accounts.keys import Pepper, new_key
from bench.filling import CATALOGUE
from bench.servers.gate import HEADERS, TARGET
from tests.servers import ROOT, accepts, free_port, redis_server, running, wait_until

KEYS = 20
CONNECTIONS = 64
TURNS, SECONDS, MOST_TRIES = 7, 3, 5
TICKS = os.sysconf("SC_CLK_TCK")

ISSUE = f"""
import django; django.setup()
from pathlib import Path
from django.core.management import call_command
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.keys import issue_key
from quotas.models import Plan
import sys
call_command("migrate", verbosity=0)
call_command("apply_catalogue", sys.argv[1], verbosity=0, stdout=sys.stderr)
actor, plan = Actor("bench"), Plan.objects.get(name="bench")
for number in range({KEYS}):
    account, _ = create_account(f"bench {{number}}", plan, external_id=f"bench-{{number}}", actor=actor)
    print(issue_key(account, name="bench", actor=actor).text)
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that answers: its port, and the processes whose time counts."""

    name: str
    port: int
    server: tuple[int, ...]
    redis: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a subject: answers a second, and the microseconds of CPU time for each."""

    answers_per_second: float
    server: float
    redis: float

    @property
    def together(self) -> float:
        return self.server + self.redis


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """What these processes have used since they were started, in user and kernel mode."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def take_turn(subject: Subject, script: Path, seconds: float, *, refuses: bool = False) -> Turn:
    """Load the subject for a while. On a machine so busy that the gate cannot decide in time, try again."""
    for _ in range(MOST_TRIES):
        turn = _take_turn(subject, script, seconds, refuses)
        if turn is not None:
            return turn
        print(f"{subject.name}: not every answer was the right one; trying again", file=sys.stderr)
    raise SystemExit(f"{subject.name} does not answer as it should")


def _take_turn(subject: Subject, script: Path, seconds: float, refuses: bool) -> Turn | None:
    server, redis, begin = cpu_seconds(subject.server), cpu_seconds(subject.redis), perf_counter()
    answers, refused = _wrk(subject.port, script, seconds)
    took = perf_counter() - begin
    server, redis = cpu_seconds(subject.server) - server, cpu_seconds(subject.redis) - redis
    if refused != (answers if refuses else 0):
        return None
    return Turn(answers / took, server / answers * 1e6, redis / answers * 1e6)


def _wrk(port: int, script: Path, seconds: float) -> tuple[int, int]:
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:g}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}{TARGET}",
    ]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30)
    answers = re.search(r"(\d+) requests in", run.stdout)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", run.stdout)
    if answers is None or "Socket errors" in run.stdout:
        raise SystemExit(run.stdout + run.stderr)
    return int(answers[1]), int(refused[1]) if refused else 0


def write_load(path: Path, keys: tuple[str, ...]) -> Path:
    """A script for wrk that asks with one key after the other, each request made once."""
    shared = "".join(f"[{json.dumps(name)}] = {json.dumps(value)}, " for name, value in HEADERS.items())
    path.write_text(
        f"""
        local keys = {{{", ".join(json.dumps(key) for key in keys)}}}
        local requests, last = {{}}, 0
        function init()
          for i, key in ipairs(keys) do
            local headers = {{{shared}["Host"] = "gate", ["Authorization"] = "Bearer " .. key}}
            requests[i] = wrk.format("GET", nil, headers)
          end
        end
        function request()
          last = last % #requests + 1
          return requests[last]
        end
        """,
        encoding="utf-8",
    )
    return path


@contextmanager
def gate_of(tree: Path, name: str, directory: Path) -> Iterator[Subject]:
    """The gate of a checkout, with a Redis and a database of its own, and keys it knows."""
    directory.mkdir()
    port = free_port()
    with redis_server(directory, port=port) as socket:
        env = {
            **os.environ,
            "SECRET_KEY": "x" * 50,
            "KEY_PEPPER": "y" * 50,
            "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
            "REDIS_URL": f"redis://127.0.0.1:{port}",  # by TCP, as in the stacks
            "DJANGO_SETTINGS_MODULE": "authsvc.settings",
            "AUTHSVC_DRAIN": "0",
        }
        keys = _issue_keys(tree, directory, env)
        options = ["-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
        with _gunicorn(tree, options, env, directory) as (gate_port, workers):
            yield Subject(name, gate_port, workers, (_pid_of_redis(socket),), keys)


@contextmanager
def empty_answer(directory: Path) -> Iterator[Subject]:
    """The least that the stock worker can do."""
    directory.mkdir()
    options = ["-k", "uvicorn_worker.UvicornWorker", "--keep-alive", "100", "bench.empty:application"]
    with _gunicorn(ROOT, options, dict(os.environ), directory) as (port, workers):
        yield Subject("empty answer", port, workers)


def _issue_keys(tree: Path, directory: Path, env: dict[str, str]) -> tuple[str, ...]:
    catalogue = directory / "catalogue.toml"
    catalogue.write_text(CATALOGUE, encoding="utf-8")
    command = [sys.executable, "-c", ISSUE, str(catalogue)]
    return tuple(
        subprocess.run(command, cwd=tree, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    )


@contextmanager
def _gunicorn(
    tree: Path, options: list[str], env: dict[str, str], directory: Path
) -> Iterator[tuple[int, tuple[int, ...]]]:
    port = free_port()
    log = directory / "gunicorn.log"
    gunicorn = [sys.executable, "-m", "gunicorn", "--workers", "1", "--no-control-socket"]
    command = ["env", "-C", str(tree), *gunicorn, "--bind", f"127.0.0.1:{port}", *options]
    with running(command, env={**env, "BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "1"}, log=log) as master:
        wait_until(lambda: master.poll() is not None or accepts(port), f"a server of {tree}", 60)
        if master.poll() is not None:
            raise SystemExit(log.read_text(encoding="utf-8"))
        _wait_for_an_answer(port)  # the master listens long before its worker has imported the application
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
        yield port, tuple(int(pid) for pid in children.read_text(encoding="ascii").split())


def _wait_for_an_answer(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", TARGET)
    connection.getresponse().read()
    connection.close()


def _pid_of_redis(socket: Path) -> int:
    import redis

    with redis.Redis(unix_socket_path=str(socket)) as client:
        return int(client.info("server")["process_id"])


def compare(
    subjects: list[Subject], script_of: dict[str, Path], turns: int, seconds: float, *, refuses: bool
) -> dict[str, list[Turn]]:
    """Let them take turns, each in another place of the order than the time before. The first turn only warms up."""
    taken: dict[str, list[Turn]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        take_turn(subject, script_of[subject.name], 1, refuses=refuses and bool(subject.keys))
    for number in range(turns):
        for subject in subjects[number % len(subjects) :] + subjects[: number % len(subjects)]:
            turn = take_turn(subject, script_of[subject.name], seconds, refuses=refuses and bool(subject.keys))
            taken[subject.name].append(turn)
        latest = ", ".join(f"{name} {turns_[-1].together:.1f} µs" for name, turns_ in taken.items())
        print(f"turn {number + 1} of {turns}: {latest}", flush=True)
    return taken


def table(taken: dict[str, list[Turn]]) -> str:
    """Medians, the spread of the sum, and the ratio of each subject's sum to the first's, turn by turn."""
    lines = [f"{'':<16} {'server µs':>10} {'redis µs':>9} {'sum µs':>7} {'spread':>13} {'ratio':>6} {'answers/s':>10}"]
    base = next(iter(taken.values()))
    for name, turns in taken.items():
        sums = sorted(turn.together for turn in turns)
        ratio = median(turn.together / first.together for turn, first in zip(turns, base, strict=True))
        server, redis, pace = (
            median(getattr(turn, of) for turn in turns) for of in ("server", "redis", "answers_per_second")
        )
        spread = f"{sums[0]:.1f}–{sums[-1]:.1f}"
        lines.append(
            f"{name:<16} {server:>10.1f} {redis:>9.1f} {median(sums):>7.1f} {spread:>13} {ratio:>6.2f} {pace:>10,.0f}"
        )
    return "\n".join(lines)


def main() -> int:
    options = _options()
    if shutil.which("wrk") is None:
        print("bench.cpu needs wrk on PATH: apt-get install wrk", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authsvc-bench-")))
        subjects = [stack.enter_context(empty_answer(directory / "empty"))]
        for name, tree in {"this gate": ROOT, **({"other gate": options.against} if options.against else {})}.items():
            subjects.append(stack.enter_context(gate_of(tree, name, directory / name.replace(" ", "-"))))
        script_of = {}
        forged = new_key("AAAAAAAAkkkkkkkk", "ask", Pepper.of("not ours")).text
        for subject in subjects:
            keys = (forged,) if options.load == "forged" or not subject.keys else subject.keys
            script_of[subject.name] = write_load(directory / f"{subject.name}.lua", keys)
        taken = compare(subjects, script_of, options.turns, options.seconds, refuses=options.load == "forged")
    print(table(taken))
    if options.json:
        figures = {name: [asdict(turn) for turn in turns] for name, turns in taken.items()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cpu", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--against", type=Path, help="a different checkout, such as a git worktree of main")
    parser.add_argument("--load", choices=["allowed", "forged"], default="allowed")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
