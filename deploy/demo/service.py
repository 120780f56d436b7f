"""authsvc itself: its environment, its commands, and its processes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from .children import Children
from .obstacle import Obstacle
from .place import CHECKOUT, DemoPlace, plain_environment, secret_in, write_private
from .ports import HOST
from .store import store_url

MANAGE = "manage"  # a script in the demo's folder


class DemoService:
    """The gate, console and worker of one demo."""

    def __init__(self, place: DemoPlace, more: Mapping[str, str] | None = None) -> None:
        self._place = place
        self._own = _variables(place) | dict(more or {})
        self._environment = plain_environment() | self._own

    def manage(self, *arguments: str) -> str:
        """The output of `manage.py ARGUMENTS`. Raises Obstacle with its error output if it fails."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, env=self._environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise Obstacle(f"`manage.py {arguments[0]}` failed with exit status {done.returncode}:\n{said}")
        return done.stdout.strip()

    def write_manage(self) -> Path:
        """Write a `manage` script for people who look around, with the paths of secrets, not the secrets."""
        script = self._place.root / MANAGE
        write_private(script, _manage_script(self._own))
        script.chmod(0o700)
        return script

    def start_gate(self, children: Children, *, processes: int) -> None:
        self._gunicorn(children, "gate", self._place.gate, self._place.admins[0], processes)

    def start_console(self, children: Children) -> None:
        self._gunicorn(children, "console", self._place.console, self._place.admins[1], 1)

    def start_worker(self, children: Children) -> None:
        children.start("worker", [sys.executable, "manage.py", "keep_ledger"], self._environment)

    def _gunicorn(self, children: Children, role: str, port: int, admin_port: int, processes: int) -> None:
        command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
        children.start(
            role,
            command,
            self._environment
            | {
                "AUTHSVC_SERVES": role,
                "BIND": f"{HOST}:{port}",
                "ADMIN_BIND": f"{HOST}:{admin_port}",
                "WEB_CONCURRENCY": str(processes),
            },
        )


def _manage_script(variables: dict[str, str]) -> str:
    """First unset whatever the caller's shell has set for another authsvc."""
    twins = [name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE" for name in variables]
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    return f"""\
#!/bin/sh
# manage.py of the running demo.
unset DEBUG DJANGO_SETTINGS_MODULE {" ".join(twins)} $(env | sed -n 's/^\\(AUTHSVC_[A-Z_]*\\)=.*/\\1/p')
{exports}
cd {shlex.quote(str(CHECKOUT))} && exec {shlex.quote(sys.executable)} manage.py "$@"
"""


def _variables(place: DemoPlace) -> dict[str, str]:
    for name in ("SECRET_KEY", "KEY_PEPPER"):
        secret_in(place.root / name.lower())
    write_private(place.root / "redis_url", store_url(place))
    return {
        "SECRET_KEY_FILE": str(place.root / "secret_key"),
        "KEY_PEPPER_FILE": str(place.root / "key_pepper"),
        "DATABASE_URL": f"sqlite:///{quote(str(place.root / 'db.sqlite3'))}",
        "REDIS_URL_FILE": str(place.root / "redis_url"),
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "GATEWAY_URL": place.gateway_url,
        "CONSOLE_URL": place.console_url,
        "AUTHSVC_MANAGE": shlex.quote(str(place.root / MANAGE)),
        "AUTHSVC_MAILBOX": "1",
        "AUTHSVC_SIGN_UP": "open",  # only this machine reaches it, and its mails lie in the mailbox
        "AUTHSVC_DRAIN": "0",  # there are no replicas to balance over: stop at once
    }
