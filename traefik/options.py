"""What the commands that read Traefik's API have in common: how they are told where it is and how to get in."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from traefik.api import Access
from traefik.auth_address import origin_of


def add_access(parser: ArgumentParser) -> None:
    parser.add_argument("--traefik-url", required=True, help="where Traefik's API is, such as http://traefik:8080")
    parser.add_argument("--traefik-host", default="", help="the host of the router that leads to it, if there is one")
    parser.add_argument("--traefik-user", default="", help="if it wants a password")
    parser.add_argument("--traefik-password-file", type=Path, help="the file that the password is in")
    parser.add_argument(
        "--gate-url", default="", help="count only ForwardAuths that ask here, such as https://127.0.0.1:8900"
    )


def read_access(options: dict[str, Any]) -> Access:
    """Raises CommandError for options that make no sense together."""
    for name in ("traefik_url", "gate_url"):
        if options[name] and origin_of(options[name]) is None:
            raise CommandError(
                f"--{name.replace('_', '-')} {options[name]}: write an address such as http://HOST:PORT."
            )
    file = options["traefik_password_file"]
    if bool(file) != bool(options["traefik_user"]):
        raise CommandError("--traefik-user and --traefik-password-file belong together.")
    return Access(
        url=options["traefik_url"],
        host=options["traefik_host"],
        user=options["traefik_user"],
        password=_secret(file) if file else "",
    )


def _secret(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise CommandError(f"--traefik-password-file {file}: {reason}.") from error
