"""manage.py set_up in real processes on real databases: from nothing to a service, also concurrently."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from runtime import migrating
from tests.servers import ROOT, accepts, free_port, redis_server, running, wait_until

pytestmark = pytest.mark.slow

NOWHERE = "127.0.0.1:1"
SECONDS = 120  # for a process; enough on a slow machine too
BARE = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
LINK = re.compile(r"^First operator +(http://console\.localhost/first-operator/[\w.-]+/)$", re.M)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/db.sqlite3"
        return
    server = os.environ.get("AUTHSVC_TEST_POSTGRES_URL") or os.environ.get("AUTHSVC_TEST_DATABASE_URL", "")
    if not server.startswith("postgres"):
        pytest.skip("set AUTHSVC_TEST_POSTGRES_URL=postgres://USER@HOST/postgres")
    name = f"set_up_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield f"{server.rpartition('/')[0]}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def environment(database, redis_socket):
    with redis.Redis(unix_socket_path=str(redis_socket), db=7) as client:
        client.flushdb()  # each database is a different deployment, and would be refused
    return {
        **BARE,
        "SECRET_KEY": "s" * 40,
        "KEY_PEPPER": "p" * 40,
        "DATABASE_URL": database,
        "REDIS_URL": f"unix://{redis_socket}?db=7",
        "CONSOLE_URL": "http://console.localhost",
        "AUTHSVC_MANAGE": "docker compose exec console python manage.py",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def away(environment):
    """The same without a database; on SQLite a folder takes the file's place."""
    if environment["DATABASE_URL"].startswith("postgres"):
        return {**environment, "DATABASE_URL": f"postgres://user:hunter2@{NOWHERE}/authsvc"}
    path = Path(environment["DATABASE_URL"].removeprefix("sqlite:///"))
    path.mkdir(parents=True)
    return environment


def start(*words: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return ended(start(*words, env=env))


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def held(database: str) -> Iterator[None]:
    """Another start has the lock."""
    if database.startswith("postgres"):
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [migrating.LOCK])
            yield
        return
    path = Path(database.removeprefix("sqlite:///") + ".set-up")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# From start to finish


def test_an_empty_database_becomes_a_service_and_the_second_time_changes_nothing(environment):
    first = run("set_up", env=environment)
    assert first.returncode == 0, first.stderr
    assert "Applying accounts.0001_initial... OK" in first.stdout
    assert "plan free: new" in first.stdout
    assert "Console         http://console.localhost/\n" in first.stdout
    assert "docker compose exec console python manage.py issue_key --account me --name first\n" in first.stdout
    again = run("set_up", env=environment)
    assert again.returncode == 0
    assert "Applying" not in again.stdout and "Nothing to change." in again.stdout
    assert LINK.search(first.stdout) and LINK.search(again.stdout)  # it has not been used


def test_the_key_that_it_says_how_to_issue_is_issued(environment):
    printed = run("set_up", env=environment).stdout
    (words,) = re.findall(r"^A key +docker compose exec console python manage\.py (.*)$", printed, re.M)
    done = run(*words.split(), env=environment)
    assert (done.returncode, done.stdout[:4]) == (0, "ask_"), done.stderr


def test_keys_of_a_lost_pepper_are_reported(environment):
    run("set_up", env=environment)
    key = run("issue_key", "--account", "me", "--name", "first", env=environment).stdout
    assert "KEY_PEPPER" not in run("set_up", env=environment).stderr
    other = {**environment, "KEY_PEPPER": "q" * 40}
    assert "1 key secrets were made with a KEY_PEPPER that is no longer set" in run("set_up", env=other).stderr
    assert "KEY_PEPPER" not in run("set_up", env={**other, "KEY_PEPPER_OLD": "p" * 40}).stderr
    assert run("revoke_key", key[4:20], env=environment).returncode == 0
    assert "KEY_PEPPER" not in run("set_up", env=other).stderr  # nothing needs that one


def test_no_link_is_printed_once_there_is_an_operator(environment):
    run("set_up", env=environment)
    assert run("first_operator_link", env=environment).stdout.startswith("http://console.localhost/first-operator/")
    operator = {**environment, "DJANGO_SUPERUSER_PASSWORD": "a long password"}
    made = run("createsuperuser", "--no-input", "--username", "ada", "--email", "ada@example.org", env=operator)
    assert made.returncode == 0, made.stderr
    assert "first-operator" not in run("set_up", env=environment).stdout
    refused = run("first_operator_link", env=environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "There already is an operator: sign in at http://console.localhost/admin/." in refused.stderr


def test_another_catalogue_is_named_by_option_or_environment(environment, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f"[models.{name}]\n")
    by_environment = {**environment, "AUTHSVC_CATALOGUE": str(tmp_path / "one.toml")}
    assert "model one: new" in run("set_up", env=by_environment).stdout
    assert "model two: new" in run("set_up", "--catalogue", str(tmp_path / "two.toml"), env=by_environment).stdout


def test_a_warning_about_the_catalogue_is_printed_and_set_up_continues(environment, tmp_path):
    limit = '{ name = "minute", per = "key", amount = 60, window = "minute" }'
    (tmp_path / "loose.toml").write_text(f"[plans.free]\nlimits = [{limit}]\n")
    done = run("set_up", "--catalogue", str(tmp_path / "loose.toml"), env=environment)
    assert done.returncode == 0, done.stderr
    assert "loose.toml:2: [plans.free] the limit minute multiplies with an account's keys" in done.stderr
    assert "Warning" not in run("set_up", env=environment).stderr  # the shipped catalogue


def test_a_fault_in_the_catalogue_stops_set_up(environment, tmp_path):
    (tmp_path / "bad.toml").write_text("[modles]\n")
    done = run("set_up", "--catalogue", str(tmp_path / "bad.toml"), env=environment)
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr and "bad.toml:1" in done.stderr


def test_concurrent_runs_are_harmless(environment):
    done = [ended(process) for process in [start("set_up", env=environment) for _ in range(6)]]
    assert [one.returncode for one in done] == [0] * 6, "\n".join(one.stderr for one in done)
    assert sum("Applying accounts.0001_initial... OK" in one.stdout for one in done) == 1
    assert sum("5 changed." in one.stdout for one in done) == 1
    assert all(LINK.search(one.stdout) for one in done)


# Waiting


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "REDIS_URL",
            f"redis://{NOWHERE}/0",
            "Redis cannot be reached (ConnectionError): start it, or correct REDIS_URL.",
        ),
        ("DATABASE_URL", f"postgres://user:hunter2@{NOWHERE}/authsvc", "): start it, or correct DATABASE_URL."),
    ],
)
def test_a_store_that_stays_unavailable_is_named_with_a_remedy(environment, variable, value, sentence):
    done = run("set_up", "--wait", "0.3", env={**environment, variable: value})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"{sentence} Waited for 0.3 s.")
    assert "set_up: " in done.stderr and "Waiting for up to 0 s more." in done.stderr
    assert "Traceback" not in done.stderr and "hunter2" not in done.stderr


def test_a_redis_that_starts_late_is_waited_for(environment, tmp_path):
    process = start("set_up", "--wait", str(SECONDS), env={**environment, "REDIS_URL": f"unix://{tmp_path}/redis.sock"})
    assert process.stderr is not None
    assert "Redis cannot be reached" in process.stderr.readline()
    with redis_server(tmp_path):
        assert ended(process).returncode == 0


def test_a_redis_that_forgets_is_refused(environment, tmp_path):
    with redis_server(tmp_path, more=("--maxmemory-policy", "allkeys-lru")):
        done = run("set_up", env={**environment, "REDIS_URL": f"unix://{tmp_path}/redis.sock"})
    assert done.returncode == 1
    assert "maxmemory-policy allkeys-lru" in done.stderr and "noeviction" in done.stderr


def test_sigterm_ends_the_wait(environment):
    process = start("set_up", "--wait", "600", env={**environment, "REDIS_URL": f"redis://{NOWHERE}/0"})
    assert process.stderr is not None
    process.stderr.readline()
    process.terminate()
    assert ended(process).returncode == 128 + signal.SIGTERM


def test_a_start_that_sets_up_for_too_long_is_not_waited_for(environment):
    with held(environment["DATABASE_URL"]):
        done = run("set_up", "--lock-wait", "0.3", env=environment)
    assert done.returncode == 1
    assert "waiting for another start that is setting up this database" in done.stderr
    assert done.stderr.endswith("check what it is doing, or raise --lock-wait SECONDS.\n")


def test_a_finished_start_lets_the_next_one_continue(environment):
    with held(environment["DATABASE_URL"]):
        process = start("set_up", env=environment)
        assert process.stderr is not None
        assert "waiting for another start" in process.stderr.readline()
    assert ended(process).returncode == 0


# Before each start


def test_it_becomes_the_program_with_its_arguments_pid_and_exit_status(environment):
    code = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    process = start("set_up", "--only-schema", "--", sys.executable, "-c", code, "-x", "--", "a b", env=environment)
    done = ended(process)
    assert done.stdout.splitlines()[-1] == f"{process.pid} ['-x', '--', 'a b']"
    assert done.returncode == 7


def test_a_missing_program_is_named(environment):
    done = run("set_up", "--only-schema", "--", "no-such-program", env=environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "CommandError: no-such-program cannot be started: No such file or directory."


def test_the_schema_alone_needs_no_redis_and_no_catalogue(environment):
    done = run("set_up", "--only-schema", env={**environment, "REDIS_URL": f"redis://{NOWHERE}/0"})
    assert done.returncode == 0
    assert "Applying accounts.0001_initial" in done.stdout
    assert "plan free" not in done.stdout and "first-operator" not in done.stdout


def test_a_gate_starts_without_a_database_and_a_console_does_not(away):
    gate = run("set_up", "--start-anyway", "--wait", "0.3", "--", "echo", "serving", env=away)
    assert (gate.returncode, gate.stdout) == (0, "serving\n")
    assert "The database cannot be reached (" in gate.stderr and "Starting without it" in gate.stderr
    console = run("set_up", "--only-schema", "--wait", "0.3", "--", "echo", "serving", env=away)
    assert (console.returncode, console.stdout) == (1, "")


def test_a_gate_first_migrates_an_available_database(environment):
    done = run("set_up", "--start-anyway", "--", "echo", "serving", env=environment)
    assert done.returncode == 0
    assert "Applying accounts.0001_initial" in done.stdout and done.stdout.endswith("serving\n")


def test_a_gate_does_not_start_while_another_start_is_migrating(environment):
    words = ("set_up", "--start-anyway", "--lock-wait", "0.3", "--", "echo", "serving")
    with held(environment["DATABASE_URL"]):
        done = run(*words, env=environment)
        assert (done.returncode, done.stdout) == (1, "")
        run("migrate", "--no-input", env=environment)
        assert run(*words, env=environment).stdout == "serving\n"  # what this one needs is there


def test_start_anyway_requires_a_program(environment):
    done = run("set_up", "--start-anyway", env=environment)
    assert done.returncode == 1
    assert "--start-anyway needs a program to start" in done.stderr


def test_the_version_before_starts_on_the_schema_of_the_one_after(environment):
    run("set_up", "--only-schema", env=environment)
    later = "from django.db.migrations.recorder import MigrationRecorder as R\nfrom django.db import connection\n"
    later += "R(connection).record_applied('accounts', '9999_of_the_next_version')\n"
    assert run("shell", "-c", later, env=environment).returncode == 0
    done = run("set_up", env=environment)
    assert done.returncode == 0
    assert "the database is up to date" in done.stderr


# From the first start to the first operator


def test_the_link_of_a_real_start_makes_the_operator_of_a_real_console(environment, tmp_path):
    port, log = free_port(), tmp_path / "console.log"
    address = f"http://127.0.0.1:{port}"
    environment = {
        **environment,
        "CONSOLE_URL": address,
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "1",
        "AUTHSVC_DRAIN": "0",
        "AUTHSVC_SERVES": "console",
        "ALLOWED_HOSTS": "console.example.org",
    }
    serve = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
    with running([sys.executable, "manage.py", "set_up", "--", *serve], env=environment, log=log) as process:
        wait_until(lambda: process.poll() is not None or accepts(port), "the console listening", SECONDS)
        (link,) = re.findall(rf"^First operator +({address}/\S+)$", log.read_text(), re.M)
        with httpx.Client(follow_redirects=True, timeout=60) as browser:
            form = browser.get(link)
            assert (form.status_code, form.url.path) == (200, "/first-operator/")
            token, *_ = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
            filled_in = {
                "username": "ada",
                "email": "ada@example.org",
                "password1": "correct horse battery",
                "password2": "correct horse battery",
                "csrfmiddlewaretoken": token,
            }
            admin = browser.post(form.url, data=filled_in, headers={"Origin": address})
            assert (admin.status_code, admin.url.path) == (200, "/admin/")
        assert httpx.get(link).status_code == 404
        process.terminate()
        assert process.wait(SECONDS) == 0
    assert log.read_text().count(link.split("/")[-2]) == 1  # where it was printed
