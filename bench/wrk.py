"""Load by wrk: keys from a file, each request with the next one, and the outcome as numbers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "outcome "

# Keys are put into requests as they are asked, because a million whole requests would not fit into LuaJIT's memory.
SCRIPT = """
local keys, last = {}, 0
local before, after = %(before)s, %(after)s

function init(args)
  for key in io.lines(%(keys)s) do keys[#keys + 1] = key end
  last = tonumber(args[1]) %% #keys
end

function request()
  last = last %% #keys + 1
  return before .. keys[last] .. after
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    'outcome {"answers": %%d, "microseconds": %%d, "refused": %%d, "broken": %%d, "p50": %%d, "p99": %%d}',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class LoadFailed(Exception):
    """The answers were not those that the load is meant to get, so their number means nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of wrk saw."""

    answers: int
    microseconds: int
    refused: int  # answers other than 2xx and 3xx
    broken: int  # connections that failed, and answers that did not come in time
    p50: int  # microseconds
    p99: int


@dataclass(frozen=True, slots=True)
class Load:
    """Where to send what. The text KEY in a header stands for the key whose turn it is."""

    script: Path
    port: int
    connections: int
    is_refused: bool = False


def write_script(path: Path, *, target: str, headers: Mapping[str, str], keys: Sequence[str]) -> Path:
    """A script for wrk, and beside it the keys, in the order in which they are asked."""
    of_keys = path.with_suffix(".keys")
    of_keys.write_text("".join(f"{key}\n" for key in keys), encoding="ascii")
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: api.example.com",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    before, found, after = ("\r\n".join(lines) + "\r\n\r\n").partition("KEY")
    assert found, "no header has the key"
    values = {"keys": str(of_keys), "before": before, "after": after}
    quoted = {name: json.dumps(value) for name, value in values.items()}  # JSON's strings are Lua's too
    path.write_text(SCRIPT % quoted, encoding="ascii")
    return path


def run(load: Load, seconds: float, *, start: int = 0) -> Outcome:
    """Send load, from the key at `start` on. Raises LoadFailed if an answer is not what the load expects."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["-s", str(load.script), f"http://127.0.0.1:{load.port}/", "--", str(start)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    outcome = read_outcome(done.stdout, done.stderr)
    expected = outcome.answers if load.is_refused else 0
    if outcome.broken or outcome.refused != expected or not outcome.answers:
        raise LoadFailed(f"expected {expected} refusals without an error: {outcome}")
    return outcome


def read_outcome(output: str, errors: str = "") -> Outcome:
    """The outcome that the script above makes wrk print."""
    for line in output.splitlines():
        if line.startswith(MARK):
            return Outcome(**json.loads(line.removeprefix(MARK)))
    raise LoadFailed(f"wrk printed no outcome: {output}{errors}")
