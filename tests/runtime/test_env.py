"""Readers of environment variables: each error names the variable and says what to write."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from runtime import env


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    monkeypatch.delenv("X", raising=False)
    monkeypatch.delenv("X_FILE", raising=False)


@pytest.fixture
def say(monkeypatch):
    return lambda value, name="X": monkeypatch.setenv(name, str(value))


@pytest.fixture
def in_file(tmp_path, say):
    def write(content: bytes):
        path = tmp_path / "x"
        path.write_bytes(content)
        say(path, "X_FILE")
        return path

    return write


def test_a_text_is_the_variable_without_white_space(say):
    say("  a b\n")
    assert env.text("X") == "a b"


def test_a_text_may_come_from_a_file(in_file):
    in_file("  grün\n".encode())
    assert env.text("X") == "grün"


@pytest.mark.parametrize("name", ["X", "X_FILE"])
def test_blank_is_the_same_as_not_set(say, name):
    say("  ", name)
    assert env.text("X", "default") == "default"


def test_a_blank_variable_defers_to_its_file(say, in_file):
    say("")
    in_file(b"of the file")
    assert env.text("X") == "of the file"


def test_a_missing_variable_is_reported_with_every_remedy():
    with pytest.raises(env.Missing) as told:
        env.text("X")
    assert str(told.value) == (
        "X is not set: set X, or X_FILE to a file that holds it (or DEBUG=1, only to try authsvc out)."
    )
    assert isinstance(told.value, ImproperlyConfigured)


def test_an_empty_file_is_reported(in_file):
    path = in_file(b" \n")
    with pytest.raises(env.Missing, match=f"X_FILE names {path}, which is empty: set X"):
        env.text("X")


def test_setting_both_is_an_error(say, in_file):
    say("a")
    in_file(b"b")
    with pytest.raises(env.BadSetting, match=r"^X and X_FILE are both set: keep only one\.$"):
        env.text("X", "default")


def test_a_missing_file_is_reported(say, tmp_path):
    say(tmp_path / "none", "X_FILE")
    with pytest.raises(
        env.BadSetting, match=r"^X_FILE names .*none, which cannot be read: No such file or directory\.$"
    ):
        env.text("X", "default")


def test_a_file_that_is_not_text_is_reported(in_file):
    in_file(b"\xff\xfe")
    with pytest.raises(env.BadSetting, match=r"^X_FILE names .*, which is not UTF-8 text\.$"):
        env.text("X", "default")


@pytest.mark.parametrize(("raw", "value"), [("3", 3), ("2.5", 2.5), ("0", 0), ("10", 10)])
def test_a_number(say, raw, value):
    say(raw)
    assert env.number("X", 1, most=10) == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("ten", "X='ten' is not a number."),
        ("-1", "X=-1 is not between 0 and 10."),
        ("11", "X=11 is not between 0 and 10."),
        ("nan", "X=nan is not between 0 and 10."),
        ("inf", "X=inf is not between 0 and 10."),
    ],
)
def test_anything_but_a_number_in_range_is_reported(say, raw, words):
    say(raw)
    with pytest.raises(env.BadSetting) as told:
        env.number("X", 1, most=10)
    assert str(told.value) == words


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        ("On", True),
        ("0", False),
        ("false", False),
        ("NO", False),
        ("off", False),
    ],
)
def test_a_flag(say, raw, value):
    say(raw)
    assert env.flag("X", default=not value) is value


@pytest.mark.parametrize("default", [True, False])
def test_a_flag_that_is_not_set_is_its_default(default):
    assert env.flag("X", default=default) is default


def test_anything_but_a_flag_is_reported(say):
    say("maybe")
    with pytest.raises(env.BadSetting, match=r"^X='maybe' is neither 1 nor 0\.$"):
        env.flag("X", default=False)


def test_a_choice_defaults_to_the_first(say):
    assert env.choice("X", "deny", "allow") == "deny"
    say("allow")
    assert env.choice("X", "deny", "allow") == "allow"


def test_anything_but_a_choice_is_reported(say):
    say("Allow")
    with pytest.raises(env.BadSetting, match=r"^X='Allow' is not one of: deny, allow\.$"):
        env.choice("X", "deny", "allow")


def test_words_are_separated_by_commas(say):
    say(" a, b,,c ,")
    assert env.words("X", "d") == ["a", "b", "c"]


def test_a_secret_is_long_enough(say):
    say("x" * 32)
    assert env.secret("X", made_in=None) == "x" * 32


@pytest.mark.parametrize("debug", [True, False])
def test_a_short_secret_is_refused_without_being_shown(say, tmp_path, debug):
    say("hunter2")
    with pytest.raises(env.BadSetting) as told:
        env.secret("X", made_in=tmp_path if debug else None)
    assert str(told.value) == "X has 7 characters; it needs at least 32."


def test_a_missing_secret_is_made_only_in_debug(tmp_path):
    with pytest.raises(env.Missing, match="DEBUG=1"):
        env.secret("X", made_in=None)
    made = env.secret("X", made_in=tmp_path / ".dev")
    assert len(made) >= 48
    assert env.secret("X", made_in=tmp_path / ".dev") == made


def test_only_its_owner_can_read_a_made_secret(tmp_path):
    before = os.umask(0)
    try:
        env.secret("X", made_in=tmp_path / ".dev")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / ".dev" / "X").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".dev").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / ".dev").iterdir()] == ["X"]


def test_processes_that_start_together_agree_on_a_made_secret(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: env.secret("X", made_in=tmp_path / ".dev"), range(32)))
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration(raw, value):
    assert env.duration(raw) == value


@pytest.mark.parametrize("raw", ["", "d", "30", "0d", "00d", "-1d", "1.5h", "30 d", "30D", "d30", "٣d", "1w"])
def test_anything_but_a_duration_is_reported(raw):
    with pytest.raises(
        ValueError, match="is not a duration: write a whole number followed by s, m, h or d, such as 30d"
    ):
        env.duration(raw)


@pytest.mark.parametrize("raw", ["36501d", "9999999d", "9" * 5000 + "s"])
def test_a_duration_beyond_the_calendar_is_reported(raw):
    with pytest.raises(ValueError, match="is longer than 36500d"):
        env.duration(raw)


def test_networks_and_single_addresses(monkeypatch):
    monkeypatch.setenv("X", "172.16.0.0/12, 10.1.2.3,fd00::/8")
    assert [str(network) for network in env.networks("X", "")] == ["172.16.0.0/12", "10.1.2.3/32", "fd00::/8"]


@pytest.mark.parametrize("raw", ["traefik", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0-10.0.0.9"])
def test_anything_but_a_network_is_reported(monkeypatch, raw):
    monkeypatch.setenv("X", raw)
    with pytest.raises(
        env.BadSetting, match=r"^X: .*\. Write networks such as 172\.16\.0\.0/12, separated by commas\.$"
    ):
        env.networks("X", "")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://console.localhost", "console.localhost"),
        ("https://Console.example.org:8443", "console.example.org"),
        ("http://[::1]:8081", "[::1]"),
        ("https://[::1", ""),
        ("nonsense", ""),
    ],
)
def test_the_host_of_an_address(url, host):
    assert env.host_of(url) == host
