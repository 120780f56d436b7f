"""A stack's secrets: made once, atomically, for one reader each, and never printed."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.servers import ROOT

FILES = {
    "authsvc/SECRET_KEY",
    "authsvc/KEY_PEPPER",
    "authsvc/DATABASE_URL",
    "authsvc/REDIS_URL",
    "postgres/POSTGRES_PASSWORD",
    "redis/REDIS_PASSWORD",
    "redis/redis.conf",
    "traefik/dashboard.htpasswd",
    "operator/DASHBOARD_PASSWORD",
}
SCRIPT = ROOT / "deploy" / "make_secrets.py"
COMMAND = [sys.executable, "-I", str(SCRIPT)]  # -I: nothing but the standard library
FOR_ALL = shutil.which("python3", path="/usr/bin:/usr/local/bin")  # the tests' own Python may be below someone's home


def make(folder: Path, *options: str, as_user: int | None = None) -> subprocess.CompletedProcess[str]:
    program = COMMAND if as_user is None else [FOR_ALL or "", "-I", "-c", SCRIPT.read_text()]
    return subprocess.run(
        [*program, str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        user=as_user,
        extra_groups=[] if as_user else None,
        env={"LC_ALL": "C.UTF-8"},
    )


def secrets_in(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text().strip() for p in sorted(folder.rglob("*")) if p.is_file()}


def modes_in(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()}


def test_every_secret_is_made_and_none_is_printed(tmp_path):
    done = make(tmp_path)
    found = secrets_in(tmp_path)
    assert (done.returncode, set(found)) == (0, FILES)
    for value in found.values():
        assert value not in done.stdout + done.stderr


def test_the_second_time_changes_nothing(tmp_path):
    make(tmp_path)
    before = secrets_in(tmp_path)
    assert make(tmp_path).stdout == ""
    assert secrets_in(tmp_path) == before


def test_no_two_installations_share_a_secret(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    assert not set(secrets_in(tmp_path / "a").values()) & set(secrets_in(tmp_path / "b").values())


def test_the_addresses_carry_the_passwords_of_the_servers(tmp_path):
    make(tmp_path, "--postgres-host", "db", "--postgres-db", "gate", "--redis-host", "store")
    found = secrets_in(tmp_path)
    password = found["postgres/POSTGRES_PASSWORD"]
    assert found["authsvc/DATABASE_URL"] == f"postgres://authsvc:{password}@db/gate"
    assert found["authsvc/REDIS_URL"] == f"redis://:{found['redis/REDIS_PASSWORD']}@store:6379/0"
    assert found["redis/redis.conf"] == f'requirepass "{found["redis/REDIS_PASSWORD"]}"'


def test_the_dashboard_s_line_is_the_sha1_of_its_password(tmp_path):
    make(tmp_path, "--dashboard-user", "ada")
    found = secrets_in(tmp_path)
    user, _, coded = found["traefik/dashboard.htpasswd"].partition(":{SHA}")
    assert user == "ada"
    assert base64.b64decode(coded) == hashlib.sha1(found["operator/DASHBOARD_PASSWORD"].encode()).digest()
    assert len(found["operator/DASHBOARD_PASSWORD"]) * 4 >= 128


def test_your_own_secrets_are_kept_and_quoted(tmp_path):
    yours = r'p@ss "w\ord'
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "REDIS_PASSWORD").write_text(yours)
    assert make(tmp_path).returncode == 0
    found = secrets_in(tmp_path)
    assert found["redis/REDIS_PASSWORD"] == yours
    assert unquote(urlsplit(found["authsvc/REDIS_URL"]).password or "") == yours
    assert found["redis/redis.conf"] == r'requirepass "p@ss \"w\\ord"'


def test_a_short_password_of_your_own_is_not_hashed_fast(tmp_path):
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "DASHBOARD_PASSWORD").write_text("letmein")
    refused = make(tmp_path)
    assert refused.returncode == 1
    assert "also provide dashboard.htpasswd, made with bcrypt" in refused.stderr and "letmein" not in refused.stderr
    (tmp_path / "traefik").mkdir()
    (tmp_path / "traefik" / "dashboard.htpasswd").write_text("ada:$2y$05$abc")
    assert make(tmp_path).returncode == 0


def test_our_secrets_are_for_one_user_and_the_others_for_any_container_that_mounts_them(tmp_path):
    make(tmp_path)
    assert modes_in(tmp_path) == {
        name: 0o400 if name.split("/")[0] in ("authsvc", "operator") else 0o444 for name in FILES
    }


def test_only_a_named_group_can_read_its_secrets(tmp_path):
    make(tmp_path, "--postgres-gid", str(os.getgid()), "--without", "traefik")
    file = tmp_path / "postgres" / "POSTGRES_PASSWORD"
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_gid) == (0o440, os.getgid())


def test_concurrent_runs_agree(tmp_path):
    running = [subprocess.Popen([*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    made = "".join(process.communicate(timeout=60)[0] for process in running)
    assert [process.returncode for process in running] == [0] * 8
    found = secrets_in(tmp_path)
    assert set(found) == FILES  # and no draft is left behind
    assert sorted(made.split()[1::2]) == sorted(str(tmp_path / name) for name in FILES)  # each was made once
    assert found["postgres/POSTGRES_PASSWORD"] in found["authsvc/DATABASE_URL"]
    assert found["redis/REDIS_PASSWORD"] in found["authsvc/REDIS_URL"]


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["--database-url", "sqlite:////data/db.sqlite3"], {"postgres/POSTGRES_PASSWORD"}),
        (["--without", "postgres"], {"postgres/POSTGRES_PASSWORD", "authsvc/DATABASE_URL"}),
        (["--without", "redis"], {"redis/REDIS_PASSWORD", "redis/redis.conf", "authsvc/REDIS_URL"}),
        (["--without", "traefik"], {"traefik/dashboard.htpasswd", "operator/DASHBOARD_PASSWORD"}),
    ],
)
def test_a_part_left_out_gets_no_secrets(tmp_path, options, missing):
    make(tmp_path, *options)
    assert set(secrets_in(tmp_path)) == FILES - missing


def test_a_url_without_its_password_is_an_error(tmp_path):
    make(tmp_path)
    (tmp_path / "postgres" / "POSTGRES_PASSWORD").unlink()
    done = make(tmp_path)
    assert done.returncode == 1
    assert "DATABASE_URL exists but" in done.stderr and "--without postgres" in done.stderr


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "authsvc").mkdir()
    (tmp_path / "authsvc" / "SECRET_KEY").touch()
    done = make(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "SECRET_KEY is empty" in done.stderr


def test_a_password_on_the_command_line_is_refused(tmp_path):
    done = make(tmp_path, "--database-url", "postgres://u:p@h/d")
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(FOR_ALL is None, reason="there is no Python that every user may run")
def test_an_unprivileged_user_can_make_them_and_is_told_of_obstacles(tmp_path):
    mine = Path(f"/tmp/authsvc-secrets-{os.getpid()}")  # only root may enter the folders above tmp_path
    mine.mkdir()
    try:
        refused = make(mine, as_user=10001)
        assert refused.returncode == 1
        assert refused.stderr.endswith(f"(Permission denied): let uid 10001 write to {mine}/authsvc.\n")
        os.chown(mine, 10001, 10001)
        foreign = make(mine, "--redis-gid", "999", as_user=10001)
        assert foreign.stderr.endswith(
            "to give it to group 999, run this as a member of that group or with the capability CHOWN.\n"
        )
        assert make(mine, as_user=10001).returncode == 0
        assert set(secrets_in(mine)) == FILES
    finally:
        subprocess.run(["rm", "-rf", str(mine)], check=True)
