"""oauth2-proxy with a file of passwords: each answer checks a SHA-1 of one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import accepts, free_port, running, wait_until

PEOPLE = 20


@contextmanager
def oauth2_proxy(directory: Path) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Its port and process, and what people send as Basic credentials."""
    directory.mkdir()
    port = free_port()
    pairs = [(f"customer-{number}", f"password-{number}") for number in range(PEOPLE)]
    passwords = directory / "htpasswd"
    hashed = ((name, hashlib.sha1(password.encode(), usedforsecurity=False).digest()) for name, password in pairs)
    lines = [f"{name}:{{SHA}}{base64.b64encode(digest).decode()}\n" for name, digest in hashed]
    passwords.write_text("".join(lines), encoding="ascii")
    command = [
        "oauth2-proxy",
        f"--http-address=127.0.0.1:{port}",
        f"--htpasswd-file={passwords}",
        "--provider=github",
        "--client-id=none",
        "--client-secret=none",
        f"--cookie-secret={'c' * 32}",
        "--email-domain=*",
        "--upstream=static://202",
        "--request-logging=false",
        "--auth-logging=false",
    ]
    with running(command, log=directory / "oauth2-proxy.log") as process:
        wait_until(lambda: process.poll() is not None or accepts(port), "oauth2-proxy listening")
        if process.poll() is not None:
            raise SystemExit((directory / "oauth2-proxy.log").read_text(encoding="utf-8"))
        sent = tuple(base64.b64encode(f"{name}:{password}".encode()).decode() for name, password in pairs)
        yield port, process.pid, sent
