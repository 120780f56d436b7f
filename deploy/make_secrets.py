"""python deploy/make_secrets.py /secrets

Makes every secret of a stack that is not there yet, one folder for each reader, so that a container that mounts its
own folder (a volume) sees nobody else's secrets:

    authsvc/   SECRET_KEY, KEY_PEPPER, DATABASE_URL, REDIS_URL   for SECRET_KEY_FILE, KEY_PEPPER_FILE, …
    postgres/  POSTGRES_PASSWORD                                 for POSTGRES_PASSWORD_FILE
    redis/     REDIS_PASSWORD, redis.conf                        for `redis-server /secrets/redis.conf`
    traefik/   dashboard.htpasswd                                for basicAuth.usersFile
    operator/  DASHBOARD_PASSWORD                                for the person who opens the dashboard

A file that is there is kept: that is how you bring your own. No secret is printed. It needs Python alone, because it
runs before anything is configured. Run it as the user of the image: what authsvc reads is then that user's alone
(0400). The other folders are read by users that only their images know, so a file there may be read by everybody whom
the volume reaches (0444, as Docker's own secrets), unless --…-gid names who (0440; needs CAP_CHOWN, or to be in it).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

FOLDERS = ("authsvc", "postgres", "redis", "traefik", "operator")


class CannotMake(Exception):
    """What is in the way, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where one reader's secrets are; `gid` is the reader's group, if it is known."""

    path: Path
    gid: int | None
    mode: int

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def keep(self, name: str, make: Callable[[], str]) -> str:
        """The content of the file; whoever comes first makes it, and nobody ever sees half of it."""
        path = self.path / name
        if not path.exists():
            self._make(path, make())
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CannotMake(f"{path} is there and cannot be read ({error.strerror}): run as its owner.") from error
        if not value:
            raise CannotMake(f"{path} is empty: delete it, or write the secret into it.")
        return value

    def _make(self, path: Path, value: str) -> None:
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._write(draft, value)
            os.link(draft, path)
            say(f"made {path}")
        except FileExistsError:
            pass  # another one that runs now was first
        except OSError as error:
            raise CannotMake(f"{path} cannot be made ({error.strerror}): {_remedy(error, self)}") from error
        finally:
            draft.unlink(missing_ok=True)

    def _write(self, draft: Path, value: str) -> None:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{value}\n")
            file.flush()
            if self.gid is not None:
                os.fchown(descriptor, -1, self.gid)
            os.fchmod(descriptor, self.mode)
            os.fsync(descriptor)


def _remedy(error: OSError, folder: Folder) -> str:
    if isinstance(error, PermissionError) and os.access(folder.path, os.W_OK):
        return f"to give it to group {folder.gid}, run this in that group or with the capability CHOWN."
    return f"let uid {os.getuid()} write in {folder.path}."


def make_all(options: argparse.Namespace) -> None:
    """Every secret, in an order in which what is derived comes after what it is derived from."""
    folders = {name: _folder(name, options) for name in FOLDERS if name not in options.without}
    ours = folders["authsvc"]
    ours.keep("SECRET_KEY", new_secret)
    ours.keep("KEY_PEPPER", new_secret)
    if options.database_url:
        ours.keep("DATABASE_URL", lambda: options.database_url)
    elif "postgres" in folders:
        _of_postgres(ours, folders["postgres"], options)
    if "redis" in folders:
        _of_redis(ours, folders["redis"], options)
    if "traefik" in folders:
        password = folders["operator"].keep("DASHBOARD_PASSWORD", new_secret)
        folders["traefik"].keep("dashboard.htpasswd", lambda: htpasswd(options.dashboard_user, password))


def _of_postgres(ours: Folder, theirs: Folder, options: argparse.Namespace) -> None:
    _refuse_half(ours, "DATABASE_URL", theirs, "POSTGRES_PASSWORD")
    password = theirs.keep("POSTGRES_PASSWORD", new_secret)
    user, host, name = options.postgres_user, options.postgres_host, options.postgres_db
    ours.keep("DATABASE_URL", lambda: f"postgres://{quote(user)}:{quote(password, safe='')}@{host}/{quote(name)}")


def _of_redis(ours: Folder, theirs: Folder, options: argparse.Namespace) -> None:
    _refuse_half(ours, "REDIS_URL", theirs, "REDIS_PASSWORD")
    password = theirs.keep("REDIS_PASSWORD", new_secret)
    theirs.keep("redis.conf", lambda: f"requirepass {_quoted(password)}")
    ours.keep("REDIS_URL", lambda: f"redis://:{quote(password, safe='')}@{options.redis_host}:6379/0")


def _refuse_half(ours: Folder, url: str, theirs: Folder, password: str) -> None:
    """A new password beside an old address that holds another one would be found only when nothing connects."""
    if ours.has(url) and not theirs.has(password):
        raise CannotMake(
            f"{ours.path / url} is there and {theirs.path / password} is not: bring that back; or, with a server of "
            f"your own, say --without {theirs.path.name}."
        )


def _folder(name: str, options: argparse.Namespace) -> Folder:
    gid = getattr(options, f"{name}_gid", None)
    mode = 0o440 if gid is not None else 0o400 if name in ("authsvc", "operator") else 0o444
    return Folder(options.root / name, gid, mode)


def new_secret() -> str:
    """256 random bits in characters that need no quoting anywhere."""
    return secrets.token_hex(32)


def htpasswd(user: str, password: str) -> str:
    """A line of Traefik's usersFile. SHA-1, once, is enough: nobody guesses 256 random bits, however fast they try.

    MD5, SHA1 or BCrypt: https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/basicauth/
    """
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{user}:{{SHA}}{base64.b64encode(digest).decode()}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the secrets of a stack that are not there yet; print none.")
    parser.add_argument("root", type=Path, metavar="FOLDER", help="the folders are made in it; each may be a volume")
    parser.add_argument(
        "--without", action="append", default=[], choices=["postgres", "redis", "traefik"],
        help="make nothing for it: you bring DATABASE_URL or REDIS_URL, or have no dashboard",
    )  # fmt: skip
    parser.add_argument(
        "--database-url", metavar="URL", help="instead of PostgreSQL's: sqlite:////data/authsvc.sqlite3"
    )
    parser.add_argument("--postgres-host", default="postgres", metavar="HOST")
    parser.add_argument("--postgres-user", default="authsvc", metavar="USER")
    parser.add_argument("--postgres-db", default="authsvc", metavar="NAME")
    parser.add_argument("--redis-host", default="redis", metavar="HOST")
    parser.add_argument("--dashboard-user", default="operator", metavar="USER")
    for name in FOLDERS:
        parser.add_argument(f"--{name}-gid", type=int, metavar="GID", help=f"the group that reads {name}/")
    options = parser.parse_args(arguments)
    if "@" in (options.database_url or ""):
        parser.error("--database-url would show a password to everyone on this machine: write it into a file.")
    return options


def main() -> None:
    try:
        make_all(read_options())
    except CannotMake as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
