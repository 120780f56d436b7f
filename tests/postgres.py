"""A PostgreSQL cluster that a test may restart and make read-only, and a PgBouncer in front of it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from tests.servers import accepts, free_port, running, wait_until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def binaries() -> Path | None:
    """The folder with the programs of the newest installed version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@dataclass(frozen=True)
class Cluster:
    folder: Path
    bin: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgres://authsvc@{str(self.folder).replace('/', '%2F')}/{database}"

    def ctl(self, verb: str) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        command = ["pg_ctl", "-D", "data", "-w", "-m", "fast", "-l", "server.log", "-o", options, verb]
        if verb == "stop":
            command = ["pg_ctl", "-D", "data", "-w", "-m", "fast", "stop"]
        self._run([str(self.bin / command[0]), *command[1:]])

    def sql(self, *statements: str, database: str = "postgres") -> None:
        commands = [word for statement in statements for word in ("-c", statement)]
        self._run([str(self.bin / "psql"), "-qX", "-h", str(self.folder), "-U", "authsvc", *commands, database])

    def read_only(self, is_on: bool) -> None:
        """As after a failover, for open sessions and for new ones."""
        self.sql(
            f"ALTER SYSTEM SET default_transaction_read_only = {'on' if is_on else 'off'}", "SELECT pg_reload_conf()"
        )

    def _run(self, command: Sequence[str]) -> None:
        # A file, not a pipe: the server inherits it and would keep a pipe open.
        with (self.folder / "commands.log").open("ab") as out:
            subprocess.run(as_owner(command), cwd=self.folder, check=True, timeout=60, stdout=out, stderr=out)


def as_owner(command: Sequence[str]) -> list[str]:
    """PostgreSQL and PgBouncer refuse to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@contextmanager
def cluster(disk: Path = Path("/tmp")) -> Iterator[Cluster]:
    found = binaries()
    assert found is not None
    folder = Path(mkdtemp(prefix="pg-", dir=disk))  # a socket's path has 107 bytes
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    one = Cluster(folder, found)
    one._run([str(found / "initdb"), "-D", "data", "-U", "authsvc", "--auth=trust", "-E", "UTF8", "--no-sync"])
    one.ctl("start")
    try:
        yield one
    finally:
        one.ctl("stop")
        shutil.rmtree(folder)


@contextmanager
def pooler(behind: Cluster) -> Iterator[str]:
    """A transaction gets any free session. Yields the URL of the database `pooled`."""
    assert PGBOUNCER is not None
    port, folder = free_port(), behind.folder
    (folder / "users.txt").write_text('"authsvc" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={folder}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\n"
        "default_pool_size = 3\nserver_round_robin = 1\nlogfile =\npidfile =\n"
    )
    for file in ("users.txt", "pgbouncer.ini"):
        (folder / file).chmod(0o644)
    with running(as_owner([PGBOUNCER, str(folder / "pgbouncer.ini")]), log=folder / "pgbouncer.log"):
        wait_until(lambda: accepts(port), "PgBouncer listening")
        yield f"postgres://authsvc@127.0.0.1:{port}/pooled"
