"""A wrong setting stops the start with one sentence that names the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError

from authsvc import preflight
from authsvc.checks import check_proxies, check_redis, check_settings
from store import clients
from tests.servers import ROOT, free_port

NOWHERE = "127.0.0.1:1"


def words(messages) -> list[str]:
    return [f"{message.id} {message.msg} {message.hint}" for message in messages]


def test_the_tests_own_settings_pass():
    assert words(check_settings()) == []


@pytest.mark.parametrize(
    ("name", "value", "id_", "variable"),
    [
        ("REDIS_URL", "http://localhost", "authsvc.E001", "REDIS_URL"),
        ("REDIS_URL", "redis://localhost:port/0", "authsvc.E001", "REDIS_URL"),
        ("REDIS_URL", "redis://[::1/0", "authsvc.E001", "REDIS_URL"),
        ("REDIS_URL", "redis+sentinel://a:x,b:26379/m", "authsvc.E001", "REDIS_URL"),
        ("REDIS_URL", "redis+cluster://a:6379,b:x", "authsvc.E001", "REDIS_URL"),
        ("KEY_PREFIX", "a", "authsvc.E002", "AUTHSVC_KEY_PREFIX"),
        ("KEY_PREFIX", "a_b", "authsvc.E002", "AUTHSVC_KEY_PREFIX"),
        ("KEY_PREFIX", "abcdefghijklm", "authsvc.E002", "AUTHSVC_KEY_PREFIX"),
        ("KEY_PREFIX", "äsk", "authsvc.E002", "AUTHSVC_KEY_PREFIX"),
        ("REALM", 'a"b', "authsvc.E005", "AUTHSVC_REALM"),
        ("REALM", "a\\b", "authsvc.E005", "AUTHSVC_REALM"),
        ("REALM", "a\nb", "authsvc.E005", "AUTHSVC_REALM"),
        ("REALM", "modèles", "authsvc.E005", "AUTHSVC_REALM"),
        ("ALLOWED_HOSTS", ["auth_svc"], "authsvc.W001", "ALLOWED_HOSTS"),
    ],
)
def test_every_check_names_its_variable_and_says_what_to_do(settings, name, value, id_, variable):
    setattr(settings, name, value)
    (message,) = check_settings()
    assert message.id == id_
    assert message.msg.split()[0] == variable
    assert message.hint


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://user:p%40ss@host/1",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://a:26379,b:26379/main/0",
        "redis+cluster://a:6379,b:6379?ssl=1",
    ],
)
def test_every_kind_of_redis_address_passes(settings, url):
    settings.REDIS_URL = url
    assert words(check_settings()) == []


def test_secrets_must_differ(settings):
    settings.KEY_PEPPER = settings.KEY_PEPPER_OLD = settings.SECRET_KEY
    assert [message.id for message in check_settings()] == ["authsvc.E003", "authsvc.E004"]
    assert settings.SECRET_KEY not in str(words(check_settings()))


@pytest.mark.parametrize(
    ("url", "serves", "proxies", "found"),
    [
        ("https://console.example.org", ["console"], (), ["authsvc.W002"]),
        ("https://console.example.org", ["console"], (ip_network("10.0.0.0/8"),), []),
        ("https://console.example.org", ["gate"], (), []),
        ("http://console.example.org", ["gate", "console"], (), []),
    ],
)
def test_https_without_a_trusted_proxy_is_a_warning_at_deployment(settings, url, serves, proxies, found):
    settings.CONSOLE_URL, settings.SERVES, settings.TRUSTED_PROXIES = url, serves, proxies
    assert [message.id for message in check_proxies()] == found


# Redis


def test_redis_is_checked_only_at_deployment(redis_db, monkeypatch):
    monkeypatch.setattr(clients, "sync_client", _must_not_be_called)
    assert not [message for message in run_checks() if "authsvc." in str(message.id)]


def _must_not_be_called():
    raise AssertionError("an ordinary check must pass without Redis")


def test_a_redis_that_never_evicts_passes(redis_db):
    call_command("check", tags=["redis"], deploy=True)


def test_a_redis_that_evicts_is_refused(redis_db, evicting):
    with pytest.raises(SystemCheckError, match=r"E008.*REDIS_URL.*allkeys-lru(.|\n)*`maxmemory-policy noeviction`"):
        call_command("check", tags=["redis"], deploy=True)


@pytest.mark.django_db
def test_the_worker_does_not_start_with_a_redis_that_evicts(redis_db, evicting):
    for once in (True, False):
        with pytest.raises(CommandError, match=r"allkeys-lru.*`maxmemory-policy noeviction`"):
            call_command("keep_ledger", once=once)


@pytest.fixture
def evicting(redis_db):
    redis_db.config_set("maxmemory-policy", "allkeys-lru")
    yield
    redis_db.config_set("maxmemory-policy", "noeviction")


def test_a_redis_that_does_not_answer_is_reported(redis_away):
    with redis_away():
        (message,) = check_redis()
    assert message.id == "authsvc.E007"
    assert message.msg == "REDIS_URL: Redis does not answer (ConnectionError)."


# Real processes


@pytest.fixture
def environment(tmp_path):
    """An environment in which everything starts, without the tests' own variables."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    return {
        **kept,
        "SECRET_KEY": "s" * 40,
        "KEY_PEPPER": "p" * 40,
        "REDIS_URL": f"redis://{NOWHERE}/0",
        "DATABASE_URL": f"sqlite:///{tmp_path}/new/db.sqlite3",
        "PYTHONWARNINGS": "ignore",
    }


def run(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def only_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The single line of its output, apart from gunicorn's greeting."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "Starting gunicorn" not in line]
    return line


def test_a_correct_environment_passes(environment):
    done = run("manage.py", "check", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (0 silenced).\n"


BROKEN = [
    (
        {"SECRET_KEY": None},
        "SECRET_KEY is not set: set SECRET_KEY, or SECRET_KEY_FILE to a file that holds it (or DEBUG=1, only to try authsvc out).",
    ),
    ({"KEY_PEPPER": "short"}, "KEY_PEPPER has 5 characters; it needs at least 32."),
    (
        {"REDIS_URL": None},
        "REDIS_URL is not set: set REDIS_URL, or REDIS_URL_FILE to a file that holds it (or DEBUG=1, only to try authsvc out).",
    ),
    ({"SECRET_KEY_FILE": "/none"}, "SECRET_KEY and SECRET_KEY_FILE are both set: keep only one."),
    ({"DEBUG": "perhaps"}, "DEBUG='perhaps' is neither 1 nor 0."),
    ({"DATABASE_URL": "nonsense"}, "DATABASE_URL cannot be parsed: write sqlite:////PATH or postgres://…"),
    (
        {"DATABASE_URL": "mysql://a/b"},
        "DATABASE_URL names an unsupported database: write sqlite:////PATH or postgres://…",
    ),
    ({"AUTHSVC_SERVES": "gates"}, "AUTHSVC_SERVES='gates' is not gate, console or gate,console."),
    ({"AUTHSVC_WHEN_REDIS_IS_DOWN": "wait"}, "AUTHSVC_WHEN_REDIS_IS_DOWN='wait' is not one of: deny, allow."),
    (
        {"AUTHSVC_TRUSTED_PROXIES": "traefik"},
        "AUTHSVC_TRUSTED_PROXIES: 'traefik' does not appear to be an IPv4 or IPv6 network. Write networks such as 172.16.0.0/12, separated by commas.",
    ),
    ({"AUTHSVC_LEASE": "0"}, "AUTHSVC_LEASE=0 is not between 1 and 3600."),
]


def changed(environment: dict[str, str], broken: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**environment, **broken}.items() if value is not None}


@pytest.mark.parametrize(("broken", "sentence"), BROKEN)
def test_a_broken_environment_is_one_sentence(environment, broken, sentence):
    assert only_sentence(run("manage.py", "check", env=changed(environment, broken))) == sentence


@pytest.mark.parametrize(
    "command", [["issue_key", "--account", "a", "--name", "b"], ["keep_ledger"], ["migrate"], ["runserver"]]
)
def test_every_command_says_the_same(environment, command):
    done = run("manage.py", *command, env=changed(environment, {"SECRET_KEY": None}))
    assert only_sentence(done).startswith("SECRET_KEY is not set")


@pytest.mark.parametrize(
    ("broken", "begins"),
    [
        ({"KEY_PEPPER": "short"}, "KEY_PEPPER has 5 characters"),
        ({"AUTHSVC_DRAIN": "soon"}, "AUTHSVC_DRAIN='soon' is not a number."),
        ({"ADMIN_BIND": "localhost"}, "ADMIN_BIND='localhost' is not an address to listen on: write HOST:PORT"),
        ({"BIND": "fd://77"}, "BIND='fd://77' is not a socket handed over to this process."),
        ({"AUTHSVC_KEY_PREFIX": "a_b"}, "AUTHSVC_KEY_PREFIX must be 2 to 12 letters and digits."),
    ],
)
def test_gunicorn_says_it_once_for_all_workers(environment, broken, begins):
    command = ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "--no-control-socket", "authsvc.asgi:application"]
    env = changed(environment, {"BIND": f"127.0.0.1:{free_port()}", "WEB_CONCURRENCY": "2", **broken})
    assert only_sentence(run(*command, env=env)).startswith(begins)


def test_the_system_checks_are_part_of_manage_py_check(environment):
    done = run("manage.py", "check", env={**environment, "AUTHSVC_REALM": 'a"b'})
    assert done.returncode == 1
    assert "(authsvc.E005) AUTHSVC_REALM contains characters that a header cannot carry." in done.stderr


def test_a_database_without_tables_is_one_sentence(environment):
    Path(environment["DATABASE_URL"].removeprefix("sqlite:///")).parent.mkdir()
    for command in (
        ["issue_key", "--account", "a", "--name", "b"],
        ["apply_catalogue", "deploy/catalogue.toml"],
        ["check_pepper"],
    ):
        done = run("manage.py", *command, env=environment)
        assert only_sentence(done) == "CommandError: The database is not up to date: run manage.py migrate."


@pytest.mark.parametrize(
    "command",
    [["issue_key", "--account", "a", "--name", "b"], ["apply_catalogue", "deploy/catalogue.toml"], ["migrate"]],
)
def test_a_database_that_does_not_answer_is_one_sentence(environment, command):
    env = {**environment, "DATABASE_URL": f"postgres://user:hunter2@{NOWHERE}/authsvc"}
    sentence = only_sentence(run("manage.py", *command, env=env))
    assert "The database cannot be reached (" in sentence
    assert sentence.endswith("): start it, or correct DATABASE_URL.")
    assert "hunter2" not in sentence


def test_a_redis_that_does_not_answer_is_one_sentence(environment):
    sentence = only_sentence(run("manage.py", "keep_ledger", "--once", env=environment))
    assert sentence == "CommandError: Redis cannot be reached (ConnectionError): start it, or correct REDIS_URL."


def test_an_error_that_no_operator_can_fix_keeps_its_traceback(environment):
    done = run("-c", "from authsvc import settings\nraise RuntimeError('deep')", env=environment)
    assert done.stderr.startswith("Traceback") and done.stderr.endswith("RuntimeError: deep\n")


def test_the_preflight_accepts_correct_settings():
    preflight.refuse_wrong_settings(None)
