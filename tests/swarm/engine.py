"""The docker command, with a time limit on every call."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any


def docker(*arguments: str, seconds: float = 120, env: dict[str, str] | None = None, given: bytes = b"") -> str:
    """The command's output. If it fails, the test fails with its output."""
    done = subprocess.run(
        ["docker", *arguments], input=given, capture_output=True, timeout=seconds, env=env, check=False
    )
    if done.returncode:
        raise CommandFailed(f"docker {' '.join(arguments)}: {done.stderr.decode()[-2000:]}")
    return done.stdout.decode().strip()


class CommandFailed(AssertionError):
    """A docker command ended with a status other than 0."""


@cache
def why_not() -> str:
    """Why there is no swarm to test on, or an empty string."""
    if shutil.which("docker") is None:
        return "there is no docker on this machine"
    try:
        docker("version", "--format", "{{.Server.Version}}", seconds=20)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        return f"no Docker engine answers: {str(error)[:200]}"
    missing = [
        image
        for image in ("python:3.13-slim", "redis:8", "postgres:17", "traefik:v3.7", "nginx:1-alpine")
        if not has_image(image)
    ]
    return f"these images are not here, and a test pulls none: {', '.join(missing)}" if missing else ""


def has_image(name: str) -> bool:
    return bool(docker("image", "ls", "-q", name))


def state_of_swarm() -> str:
    return docker("info", "--format", "{{.Swarm.LocalNodeState}}")


def inspect(kind: str, name: str) -> Any:
    return json.loads(docker(kind, "inspect", name))[0]


def wait_for(is_true: Callable[[], object], what: str, seconds: float = 180) -> None:
    """Check twice a second until it is true; each check is a process, so not more often."""
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds:g} s\n{tasks()}")
        time.sleep(0.5)


def tasks() -> str:
    """The swarm's view of its tasks: the first thing to read when something did not happen."""
    form = "{{.Name}} {{.CurrentState}} {{.Error}}"
    stacks = docker("stack", "ls", "--format", "{{.Name}}").split()
    return "\n".join(docker("stack", "ps", "--no-trunc", "--format", form, stack) for stack in stacks)


if __name__ == "__main__":  # for make stack-swarm
    if why := why_not():
        sys.stdout.write(f"{why}\n")
        sys.exit(1)
