"""The gate compared with an empty answer: one worker, keep-alive, 64 connections, three limits, with usage, log and
deadlines.

Prints the requests per second of both, in alternating rounds, and their ratio. Only ratios within one run are
comparable.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.servers import ROOT, free_port, gunicorn, redis_server

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
CONNECTIONS = 64
WANTED_RATIO = 0.40

CATALOGUE = """
[models.en_core_web_sm]
[plans.bench]
models = ["*"]
limits = [
  { name = "second", per = "key", amount = 1000000, window = "second" },
  { name = "minute", per = "account", amount = 1000000, window = "minute", burst = 1000000 },
  { name = "month", per = "account", amount = 1000000000, window = "month", unit = "units" },
]
"""

# Eight headers, as Traefik sends them with `authRequestHeaders`.
HEADERS = {
    "X-Forwarded-Uri": "/en_core_web_sm/ner",
    "X-Forwarded-Method": "POST",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example.com",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Server": "traefik",
}
TARGET = "/auth/?model=en_core_web_sm"


def main() -> int:
    missing = [tool for tool in ("wrk",) if shutil.which(tool) is None]
    if missing:
        print(f"make bench needs {', '.join(missing)} on PATH: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authsvc-bench-")))
        port = free_port()
        stack.enter_context(redis_server(directory, port=port))
        env = {
            "SECRET_KEY": "x" * 50,
            "KEY_PEPPER": "y" * 50,
            "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
            "REDIS_URL": f"redis://127.0.0.1:{port}",  # by TCP, as in the stacks
            "DJANGO_SETTINGS_MODULE": "authsvc.settings",
            "WEB_CONCURRENCY": "1",
            "AUTHSVC_DRAIN": "0",
        }
        key = _issue_key(directory, env)
        args = ("-c", "deploy/gunicorn.conf.py")
        empty, _ = stack.enter_context(gunicorn("bench.empty:application", directory, *args, env=env, name="empty"))
        gate, _ = stack.enter_context(gunicorn("authsvc.asgi:application", directory, *args, env=env, name="gate"))
        return _compare(empty, gate, {**HEADERS, "Authorization": f"Bearer {key}"})


def _issue_key(directory: Path, env: dict[str, str]) -> str:
    catalogue = directory / "catalogue.toml"
    catalogue.write_text(CATALOGUE, encoding="utf-8")

    def manage(*args: str) -> str:
        command = [sys.executable, "manage.py", *args]
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, **env}, check=True, capture_output=True, text=True
        ).stdout

    manage("migrate", "-v0")
    manage("apply_catalogue", str(catalogue))
    return manage("issue_key", "--account", "bench", "--plan", "bench", "--name", "bench").strip()


def _compare(empty: int, gate: int, headers: dict[str, str]) -> int:
    load(empty, headers, 1)
    load(gate, headers, 1)
    print(f"{'round':>6} {'empty answer/s':>15} {'decisions/s':>12} {'ratio':>6}")
    ratios = []
    for number in range(1, ROUNDS + 1):
        floor, decisions = load(empty, headers, SECONDS), load(gate, headers, SECONDS)
        ratios.append(decisions / floor)
        print(f"{number:>6} {floor:>15,.0f} {decisions:>12,.0f} {ratios[-1]:>6.2f}", flush=True)
    median = statistics.median(ratios)
    print(f"median ratio {median:.2f} (target: at least {WANTED_RATIO:.2f})")
    return 0 if median >= WANTED_RATIO else 2


def load(port: int, headers: dict[str, str], seconds: int) -> float:
    """The requests per second of one wrk run. Any answer other than 2XX fails it."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{TARGET}"], check=True, capture_output=True, text=True, timeout=seconds + 30
    ).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(output)
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if found is None:
        raise SystemExit(output)
    return float(found[1])


if __name__ == "__main__":
    sys.exit(main())
