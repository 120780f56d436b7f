"""python deploy/make_secrets.py /secrets

Makes every missing secret of a stack, in one folder per reader, so that a container that mounts only its own folder (a
volume) sees no other secrets:

    authsvc/   SECRET_KEY, KEY_PEPPER, DATABASE_URL, REDIS_URL   for SECRET_KEY_FILE, KEY_PEPPER_FILE, …
    postgres/  POSTGRES_PASSWORD                                 for POSTGRES_PASSWORD_FILE
    redis/     REDIS_PASSWORD, redis.conf                        for `redis-server /secrets/redis.conf`
    traefik/   dashboard.htpasswd                                for basicAuth.usersFile
    operator/  DASHBOARD_PASSWORD                                for people who open the dashboard

Existing files are kept, so you can bring your own. No secret is printed. It needs only Python, because it runs before
anything is configured. Run it as the image's user: then only that user can read authsvc's secrets (0400). The other
folders are read by users that only their images know, so anyone with the volume may read the files in them (0444, like
Docker's own secrets), unless --…-gid names a group (0440; needs CAP_CHOWN or membership of it).
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

LEAST_TO_HASH_FAST = 32
FOLDERS = ("authsvc", "postgres", "redis", "traefik", "operator")


class CannotMake(Exception):
    """A secret cannot be made; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one reader's secrets; `gid` is the reader's group, if known."""

    path: Path
    gid: int | None
    mode: int

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def keep(self, name: str, make: Callable[[], str]) -> str:
        """The file's content. The first process to need it makes it, atomically."""
        path = self.path / name
        if not path.exists():
            self._make(path, make())
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CannotMake(f"{path} exists but cannot be read ({error.strerror}): run as its owner.") from error
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
            pass  # a concurrent run was first
        except OSError as error:
            raise CannotMake(f"{path} cannot be created ({error.strerror}): {_remedy(error, self)}") from error
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
        return f"to give it to group {folder.gid}, run this as a member of that group or with the capability CHOWN."
    return f"let uid {os.getuid()} write to {folder.path}."


def make_all(options: argparse.Namespace) -> None:
    """Make every secret, each one before those derived from it."""
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
    """A new password beside an old URL with a different one would go unnoticed until connections fail."""
    if ours.has(url) and not theirs.has(password):
        raise CannotMake(
            f"{ours.path / url} exists but {theirs.path / password} does not: restore it or, if you use your own "
            f"server, add --without {theirs.path.name}."
        )


def _folder(name: str, options: argparse.Namespace) -> Folder:
    gid = getattr(options, f"{name}_gid", None)
    mode = 0o440 if gid is not None else 0o400 if name in ("authsvc", "operator") else 0o444
    return Folder(options.root / name, gid, mode)


def new_secret() -> str:
    """256 random bits, in characters that never need quoting."""
    return secrets.token_hex(32)


def htpasswd(user: str, password: str) -> str:
    """A line for Traefik's usersFile. A single SHA-1 is enough, because nobody can guess 256 random bits.

    MD5, SHA1 or BCrypt: https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/basicauth/
    """
    if len(password) < LEAST_TO_HASH_FAST:
        raise CannotMake(
            f"Your DASHBOARD_PASSWORD has {len(password)} characters, too few for a fast hash: also provide "
            "dashboard.htpasswd, made with bcrypt (htpasswd -B), or use a longer password."
        )
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{user}:{{SHA}}{base64.b64encode(digest).decode()}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the missing secrets of a stack; print none.")
    parser.add_argument("root", type=Path, metavar="FOLDER", help="where to create the folders; each may be a volume")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=["postgres", "redis", "traefik"],
        help="make nothing for it: you provide DATABASE_URL or REDIS_URL, or have no dashboard",
    )
    parser.add_argument(
        "--database-url", metavar="URL", help="instead of PostgreSQL's: sqlite:////data/authsvc.sqlite3"
    )
    parser.add_argument("--postgres-host", default="postgres", metavar="HOST")
    parser.add_argument("--postgres-user", default="authsvc", metavar="USER")
    parser.add_argument("--postgres-db", default="authsvc", metavar="NAME")
    parser.add_argument("--redis-host", default="redis", metavar="HOST")
    parser.add_argument("--dashboard-user", default="operator", metavar="USER")
    for name in FOLDERS:
        parser.add_argument(f"--{name}-gid", type=int, metavar="GID", help=f"the group that may read {name}/")
    options = parser.parse_args(arguments)
    if "@" in (options.database_url or ""):
        parser.error("--database-url would show the password to everyone on this machine: write it to a file instead.")
    return options


def main() -> None:
    try:
        make_all(read_options())
    except CannotMake as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
