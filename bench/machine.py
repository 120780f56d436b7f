"""Where something was measured: the machine, and the versions of what took part."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.demo.obstacle import Obstacle
from deploy.demo.store import server_binary
from tests.servers import ROOT

PACKAGES = ("django", "djangorestframework", "uvicorn", "uvloop", "httptools", "hiredis", "gunicorn")
TOLD_BY = {  # program: how it tells its version
    "wrk": ("-v", r"wrk (\S+)"),
    "nginx": ("-v", r"nginx/(\S+)"),
    "oauth2-proxy": ("--version", r"oauth2-proxy v?(\S+)"),
}


def describe() -> dict[str, str]:
    """What a reader has to know to compare figures, in the order in which it is shown."""
    return {
        "processor": f"{len(os.sched_getaffinity(0))} cores, {_model()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "authsvc": _commit(),
        "python": platform.python_version(),
        **{name: told for name in PACKAGES if (told := _package(name))},
        **{name: told for name, (option, shape) in TOLD_BY.items() if (told := _program(name, option, shape))},
        "traefik": _program(str(Path(sys.executable).with_name("traefik")), "version", r"Version:\s*(\S+)"),
        "redis": _redis(),
    }


def _model() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*: (.+)$", text, re.M)
    return found[1] if found else platform.machine()


def _commit() -> str:
    told = _program("git", "describe", r"(\S+)", "--always", "--dirty", "--abbrev=12")
    return told or "not from a checkout"


def _package(name: str) -> str:
    with suppress(PackageNotFoundError):
        return version(name)
    return ""


def _redis() -> str:
    with suppress(Obstacle):
        binary = server_binary()
        told = _program(str(binary), "--version", r"v=(\S+)")
        return f"{binary.name} {told}"
    return ""


def _program(name: str, option: str, shape: str, *more: str) -> str:
    """The version that a program tells, or nothing if it is not here."""
    if shutil.which(name) is None:
        return ""
    done = subprocess.run([name, option, *more], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    found = re.search(shape, done.stdout + done.stderr)
    return found[1] if found else ""
