"""Options shared by the commands that read Traefik's API: where it is and how to sign in."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from traefik.api import Access
from traefik.auth_address import origin_of


def add_access(parser: ArgumentParser) -> None:
    parser.add_argument("--traefik-url", required=True, help="where Traefik's API is, such as http://traefik:8080")
    parser.add_argument("--traefik-host", default="", help="the host of the router in front of it, if there is one")
    parser.add_argument("--traefik-user", default="", help="the user, if it requires a password")
    parser.add_argument("--traefik-password-file", type=Path, help="a file that holds the password")
    parser.add_argument(
        "--gate-url",
        default="",
        help="consider only ForwardAuths that call this address, such as https://127.0.0.1:8900",
    )


def read_access(options: dict[str, Any]) -> Access:
    """Raises CommandError for options that are invalid or do not fit together."""
    for name in ("traefik_url", "gate_url"):
        if options[name] and origin_of(options[name]) is None:
            raise CommandError(
                f"--{name.replace('_', '-')} {options[name]}: write an address such as http://HOST:PORT."
            )
    file = options["traefik_password_file"]
    if bool(file) != bool(options["traefik_user"]):
        raise CommandError("--traefik-user and --traefik-password-file must be given together.")
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
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CommandError(f"--traefik-password-file {file}: {reason}.") from error
