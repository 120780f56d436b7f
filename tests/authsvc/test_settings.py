"""Every variable, with values people might write: accepted, or refused in one sentence that names it and no secret."""

from __future__ import annotations

import os
import re
import runpy
from typing import Any

import pytest
from django.test import override_settings

from authsvc.checks import check_settings
from runtime.env import BadSetting
from runtime.worker_class import GateWorker
from tests.servers import ROOT

BAD = {
    "two words": "hunter2 hunter3",
    "quoted": '"1"',
    "two lines": "hunter2\nhunter3",
    "a number without end": "9" * 400,
    "negative": "-1",
    "no number": "nan",
    "infinite": "inf",
    "a fraction": "2.5",
    "beyond ASCII": "hünter2" * 10,
    "an escape": "hunter2\x1b[31m" * 10,
    "no UTF-8": "hunter2\udcff" * 10,
    "a separator": ",",
}
NEVER = {"two lines", "an escape", "no UTF-8"}

# The ones that each variable accepts, because they mean something there.
TAKEN: dict[str, set[str]] = {
    "DEBUG": set(),
    "SECRET_KEY": {"a number without end", "beyond ASCII"},
    "KEY_PEPPER": {"a number without end", "beyond ASCII"},
    "KEY_PEPPER_OLD": {"a number without end", "beyond ASCII"},
    "DATABASE_URL": set(),
    "REDIS_URL": set(),
    "ALLOWED_HOSTS": {"no number", "infinite", "a separator", "-"},
    "AUTHSVC_REDIS_CONNECT_SECONDS": {"a fraction"},
    "AUTHSVC_REDIS_PREFIX": {"no number", "infinite", "negative", "a fraction"},
    "GATEWAY_URL": set(),
    "CONSOLE_URL": set(),
    "EMAIL_URL": set(),
    "EMAIL_FROM": set(),
    "AUTHSVC_SERVES": set(),
    "AUTHSVC_REALM": {
        "two words",
        "a number without end",
        "negative",
        "no number",
        "infinite",
        "a fraction",
        "a separator",
    },
    "AUTHSVC_KEY_PREFIX": {"no number", "infinite"},
    "AUTHSVC_OVER_LIMIT_STATUS": set(),
    "AUTHSVC_ERRORS_URL": set(),
    "AUTHSVC_WHEN_REDIS_IS_DOWN": set(),
    "AUTHSVC_LEASE": {"a fraction"},
    "AUTHSVC_LOG_DECISIONS": set(),
    "AUTHSVC_LOG_SAMPLE": set(),
    "AUTHSVC_IMPORTED_KEYS": set(),
    "AUTHSVC_OTEL_URL": set(),
    "AUTHSVC_WEBSOCKET_KEYS": set(),
    "AUTHSVC_CACHE_MB": set(),
    "AUTHSVC_BRAND_NAME": set(BAD) - NEVER - {"a number without end", "beyond ASCII"},  # those are longer than 40
    "AUTHSVC_BRAND_COLOUR": set(),
    "AUTHSVC_BRAND_LOGO": set(),
    "AUTHSVC_SUPPORT": set(),
    "AUTHSVC_LANGUAGES": set(),
    "AUTHSVC_SIGN_UP": set(),
    "AUTHSVC_STAFF_SECOND_FACTOR": set(),
    "AUTHSVC_SESSION_IDLE": set(),
    "AUTHSVC_OIDC_ISSUER": set(),
    "AUTHSVC_OIDC_CLIENT_ID": set(BAD) - NEVER,  # the provider says what it makes of it
    "AUTHSVC_OIDC_CLIENT_SECRET": set(BAD) - NEVER,
    "AUTHSVC_OIDC_NAME": set(BAD) - NEVER,
    "AUTHSVC_OIDC_DOMAINS": {"no number", "infinite", "a separator"},
    "AUTHSVC_OIDC_ROLE": set(),
    "AUTHSVC_OIDC_ACCOUNT": set(BAD) - NEVER,
    "AUTHSVC_MAILBOX": set(),
    "AUTHSVC_NOTIFICATIONS": set(),
    "AUTHSVC_AUDIT_KEEP": set(),
    "AUTHSVC_TRUSTED_PROXIES": {"a separator"},
    "AUTHSVC_CATALOGUE": set(BAD) - NEVER,  # set_up reports errors in the file
    "AUTHSVC_MANAGE": set(BAD) - NEVER,
    "AUTHSVC_DRAIN": {"a fraction"},
    "BIND": {"a separator"},
    "ADMIN_BIND": {"a separator"},
    "WEB_CONCURRENCY": set(),
}
GUNICORNS = {"BIND", "ADMIN_BIND", "WEB_CONCURRENCY", "AUTHSVC_DRAIN"}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for name in TAKEN:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    right = {
        "SECRET_KEY": "s" * 40,
        "KEY_PEPPER": "p" * 40,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
    }
    for name, value in right.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(GateWorker, "admin_names", GateWorker.admin_names)
    monkeypatch.setattr(GateWorker, "drain_seconds", GateWorker.drain_seconds)


def start(name: str) -> None:
    """Read the environment as a start does. Raises BadSetting, or exits with a sentence."""
    found: dict[str, Any] = {}
    if name not in GUNICORNS:
        found = runpy.run_path(str(ROOT / "authsvc" / "settings.py"))
        settings = {key: value for key, value in found.items() if key.isupper() and key != "DATABASES"}
        with override_settings(**settings):
            errors = [f"{message.msg} {message.hint}" for message in check_settings() if message.is_serious()]
        if errors:
            raise BadSetting(errors[0])
    else:
        runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))


def test_the_correct_environment_starts(environment):
    start("DEBUG")
    start("BIND")


def test_every_documented_variable_is_here():
    table = (ROOT / "docs" / "reference" / "configuration.md").read_text().split("## Variables")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)`", table, re.M)) == set(TAKEN)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", TAKEN)
def test_a_bad_value_stops_the_start_with_one_sentence(environment, monkeypatch, name, kind, tmp_path):
    if kind == "no UTF-8" or "\n" in BAD[kind]:
        monkeypatch.setitem(os.environ, name, BAD[kind])
    else:
        monkeypatch.setenv(name, BAD[kind])
    if kind in TAKEN[name]:
        start(name)
        return
    with pytest.raises((BadSetting, SystemExit)) as told:
        start(name)
    words = str(told.value)
    assert name in words and "\n" not in words and "\x1b" not in words, words
    assert words.endswith((".", "…", ").")), words
    if name in ("SECRET_KEY", "KEY_PEPPER", "KEY_PEPPER_OLD", "DATABASE_URL", "REDIS_URL", "EMAIL_URL"):
        assert "hunter2" not in words and "hünter2" not in words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMAIL_URL", "smtp://u:p%C3%A4ss@mail.example.org"),
        ("EMAIL_URL", "smtp://%C3%BC:p@mail.example.org"),
        ("EMAIL_URL", "smtp://u:päss@mail.example.org"),
        ("EMAIL_URL", "smtp://u:p%0Ass@mail.example.org"),
        ("EMAIL_URL", "smtp://u:p@mail.example.org:0"),
        ("EMAIL_URL", "smtp://u:p@mail.example.org:99999"),
        ("EMAIL_URL", "smtp://u:p@mail.example.org/inbox"),
        ("EMAIL_URL", "smtp://u:p@mail.example.org?tls=1"),
        ("EMAIL_URL", "smtp://u:p@ma il"),
        ("EMAIL_URL", "smtp://u:p@" + "m" * 64),
        ("EMAIL_FROM", "authsvc"),
        ("EMAIL_FROM", "a@b@c"),
        ("EMAIL_FROM", "ä@example.org"),
        ("EMAIL_FROM", "a@"),
        ("EMAIL_FROM", "a@exa mple.org"),
        ("EMAIL_FROM", "<a@example.org"),
        ("EMAIL_FROM", "a..b@example.org"),
        ("KEY_PEPPER_OLD", "short"),
        ("DATABASE_URL", "postgres://u:hunter2@host:port/db"),
        ("DATABASE_URL", "postgres://u:hunter2@[::1/db"),
        ("DATABASE_URL", "mysql://u:hunter2@host/db"),
        ("DATABASE_URL", "sqlite:////proc/none/db.sqlite3"),
        ("AUTHSVC_LEASE", "1e400"),
        ("WEB_CONCURRENCY", "0"),
    ],
)
def test_a_value_that_would_fail_later_stops_the_start_too(environment, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises((BadSetting, SystemExit)) as told:
        start(name)
    words = str(told.value)
    assert words.startswith(name) and "\n" not in words
    assert not re.search("hunter2|p%|päss|pä", words)


@pytest.mark.parametrize("name", sorted(set(TAKEN) - {"SECRET_KEY", "KEY_PEPPER", "DATABASE_URL", "REDIS_URL"}))
@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_blank_is_the_default(environment, monkeypatch, name, blank):
    monkeypatch.setenv(name, blank)
    start(name)


def test_a_collector_without_opentelemetry_stops_the_start(environment, monkeypatch):
    monkeypatch.setenv("AUTHSVC_OTEL_URL", "http://collector:4318")
    start("AUTHSVC_OTEL_URL")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadSetting, match=r"AUTHSVC_OTEL_URL is set: install OpenTelemetry from requirements/otel\.txt"):
        start("AUTHSVC_OTEL_URL")
